# SPDX-License-Identifier: MIT
"""python3 -m moe_cpp"""
from moe_cpp import main

main()
