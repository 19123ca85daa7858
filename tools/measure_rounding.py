#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What rounding costs on normally distributed data: the figures of docs/numerics.md and docs/fp8.md (needs
numpy).

Prints the normalised mean squared error of one rounding to bf16, f16, TF32 (to nearest, and cut off) and FP8
with a scale for each row of 1,024, and of products whose operands are TF32.
"""
import numpy as np

VALUES, PRODUCTS = 4_000_000, 300


def kept(x, bits, nearest):
    """x with only the upper `bits` of its 32, rounded to nearest (ties away: the difference is nothing here)
    or cut."""
    low = 32 - bits
    u = x.view(np.uint32) + np.uint32(1 << (low - 1) if nearest else 0)
    return (u & np.uint32(0xFFFFFFFF << low & 0xFFFFFFFF)).view(np.float32)


def fp8(x, mantissa, least_exponent, largest):
    """x by rows, as base/fp8.h scales and rounds it."""
    scale = 2.0 ** np.ceil(np.log2(np.abs(x).max(axis=1, keepdims=True) / largest))
    size = np.abs(x) / scale
    exponent = np.maximum(np.floor(np.log2(np.maximum(size, 1e-30))), least_exponent)
    step = 2.0 ** (exponent - mantissa)
    return np.sign(x) * np.minimum(np.round(size / step) * step, largest) * scale


def error(found, exact):
    return ((found.astype(np.float64) - exact) ** 2).sum() / (exact.astype(np.float64) ** 2).sum()


def main():
    random = np.random.default_rng(1)
    x = random.standard_normal(VALUES).astype(np.float32)
    exact = x.astype(np.float64)
    print(f"bf16           {error(kept(x, 16, True), exact):.2e}")
    print(f"f16            {error(x.astype(np.float16), exact):.2e}")
    print(f"TF32           {error(kept(x, 19, True), exact):.2e}")
    print(f"TF32, cut off  {error(kept(x, 19, False), exact):.2e}")
    rows = exact[: VALUES // 1024 * 1024].reshape(-1, 1024)
    print(f"E4M3           {error(fp8(rows, 3, -6, 448), rows):.2e}")
    print(f"E5M2           {error(fp8(rows, 2, -14, 57344), rows):.2e}")
    for inner in (1, 64, 1024):
        a = random.standard_normal((PRODUCTS, inner)).astype(np.float32)
        b = random.standard_normal((inner, PRODUCTS)).astype(np.float32)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        for name, nearest in (("nearest", True), ("cut off", False)):
            found = kept(a, 19, nearest).astype(np.float64) @ kept(b, 19, nearest).astype(np.float64)
            print(f"product of {inner:4d} terms, operands {name}  {error(found, exact):.2e}")


if __name__ == "__main__":
    main()
