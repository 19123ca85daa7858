#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tools/make_report_picture.sh MOE [FOLDER]: trains the quickstart for 300 steps, opens its report in headless
# Chromium and writes docs/images/report.png. Takes some minutes on two cores. FOLDER keeps the run, and a run
# that is there is not trained again. Needs: chromium; python3 with Pillow, which makes the file small.
set -euo pipefail
moe=$(realpath "$1")
cd "$(dirname "$0")/.."
work=${2:-$(mktemp -d)}
[ -n "${2:-}" ] || trap 'rm -rf "$work"' EXIT
if [ ! -d "$work/quickstart" ]; then
  "$moe" train --config configs/quickstart.yaml training.max_steps=300 training.eval_every=25 \
    training.output_dir="$work" training.run_name=quickstart
fi
"$moe" report "$work/quickstart" --smooth 0.8 --output "$work/report.html"
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/browser" \
  --virtual-time-budget=4000 --window-size=1360,1230 --screenshot="$work/report.png" \
  "file://$(realpath "$work/report.html")?theme=light" 2> /dev/null
python3 - "$work/report.png" docs/images/report.png << 'END'
import sys
from PIL import Image
Image.open(sys.argv[1]).convert("RGB").quantize(128).save(sys.argv[2], optimize=True)
END
ls -l docs/images/report.png
