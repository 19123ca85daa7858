#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads the TensorBoard files of a run with TensorBoard's own reader and holds every value against
metrics.jsonl, by the names that docs/metrics.md says.

usage: tools/check_tensorboard.py RUN      needs: pip install tensorboard
"""
import math
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

import shown_names

WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def f32(value):
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def main():
    run = Path(sys.argv[1])
    reader = EventAccumulator(
        str(run / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    reader.Reload()
    scalars = {tag: {} for tag in reader.Tags()["scalars"]}
    for tag in scalars:
        for event in reader.Scalars(tag):
            assert event.step not in scalars[tag], f"{tag}: step {event.step} twice"
            scalars[tag][event.step] = event.value
    histograms = {tag: {event.step: event.histogram_value for event in reader.Histograms(tag)}
                  for tag in reader.Tags()["histograms"]}
    texts = {tag: [(event.step, event.tensor_proto.string_val[0].decode()) for event in reader.Tensors(tag)]
             for tag in reader.Tags()["tensors"] if not tag.startswith("_hparams_")}
    numbers = lists = words = 0
    for row in shown_names.rows(run):
        step = row.pop("step")
        for name, value in row.items():
            value = WORDS.get(value, value) if isinstance(value, str) else value
            if isinstance(value, str):
                assert (step, value) in texts[name], f"{name}, step {step}"
                words += 1
            elif isinstance(value, list) and not isinstance(value[0], list):
                assert list(histograms[name][step].bucket) == [
                    max(v, 0) for v in value], f"{name}, step {step}"
                lists += 1
            elif isinstance(value, list):
                assert sum(histograms[name][step].bucket) == sum(map(len, value)), f"{name}, step {step}"
                lists += 1
            else:
                read = scalars[name][step]
                assert read == f32(value) or (
                    math.isnan(read) and math.isnan(value)), f"{name}, step {step}: {value}, {read}"
                numbers += 1
    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["model.d_model"].number_value > 0
    sections = sorted({tag.split("/")[0] for tag in scalars})
    print(f"sections: {', '.join(sections)}")
    print(f"TensorBoard's reader: {numbers} scalars, {lists} histograms and {words} texts equal to "
          f"metrics.jsonl, "
          f"{len(settings)} hyperparameters")


if __name__ == "__main__":
    main()
