"""The benchmarks' --help: usage as it works, and a word on every option."""
from __future__ import annotations

import argparse
import importlib
import sys

import pytest


@pytest.mark.parametrize("name", ["baselines", "ceiling", "colour", "darkening", "data_loading", "detail", "files", "gpu_check",
                                  "inference", "page", "recursion", "sharing", "sizes", "spaces", "training",
                                  "uneven_light", "video"])
def test_help_says_how_to_call_it_and_what_each_option_is(name, monkeypatch):
    parsers = []

    def parse(parser, *_):
        parsers.append(parser)
        raise SystemExit(0)

    benchmark = importlib.import_module(f"benchmarks.{name}")
    if hasattr(benchmark, "__path__"):  # a package
        benchmark = importlib.import_module(f"benchmarks.{name}.__main__")
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    with pytest.raises(SystemExit):
        benchmark.main()
    assert parsers[0].format_usage().startswith(f"usage: python -m benchmarks.{name} ")
    assert f"python -m benchmarks.{name}" in benchmark.__doc__
    monkeypatch.setattr(benchmark, "__doc__", None)  # as python -OO has it
    with pytest.raises(SystemExit):
        benchmark.main()
    assert [action.dest for action in parsers[0]._actions if not action.help] == []
