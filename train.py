"""Train HVR: `accelerate launch train.py --config_path exp_config/config.py --config_name Config --exp_name short_test`."""
from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from engine.program import explain_import, quick_imports, run_program

EXIT_ERROR, EXIT_INTERRUPTED = 2, 130


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the HVR low-light enhancement network.", allow_abbrev=False)
    parser.add_argument("--config_path", default=str(Path(__file__).resolve().parent / "exp_config/config.py"),
                        help="a Python file with a Config class, or a config.json")
    parser.add_argument("--config_name", help="name of the class in a Python file (default: Config)")
    parser.add_argument("--exp_name", help="named experiment of the class: default, if not given, short_test, ...")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", dest="overrides",
                        help="change single settings, for example --set batch_size=16 learning_rate=1e-3")
    parser.add_argument("--resume_from_checkpoint", metavar="DIR",
                        help="go on from a run's checkpoint_epoch_latest or best_model folder")
    parser.add_argument("--init_weights", metavar="FILE", help="start a new run from the weights in this .safetensors file")
    parsed = parser.parse_args(arguments)
    for option in ("resume_from_checkpoint", "init_weights"):
        if getattr(parsed, option) == "":
            parser.error(f"--{option}: an empty text; expected a path (is a shell variable not set?)")
    if parsed.resume_from_checkpoint and parsed.init_weights:
        parser.error("--init_weights is for new runs; --resume_from_checkpoint brings its own weights")
    return parsed


def main(arguments: list[str]) -> int:
    parsed = parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")

    # heavy imports come after the arguments are known to be right
    from engine.environment import check_progress_variables, load_env_file
    from engine.interruption import Interrupted
    from exp_config import load_config

    try:
        load_env_file()
        check_progress_variables()
        config = load_config(parsed.config_path, parsed.config_name, parsed.exp_name, parsed.overrides)

        with quick_imports():
            from engine.training.session import run_training

        run_training(config, resume_from=parsed.resume_from_checkpoint, init_weights=parsed.init_weights,
                     arguments=[sys.argv[0], *arguments])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except (RuntimeError, MemoryError, OSError) as error:
        from engine.failures import explain_training_failure

        message = explain_training_failure(error)
        if message is None and not isinstance(error, OSError):  # those: of a full disk, or files that cannot be used
            raise
        print(f"error: {message or error}", file=sys.stderr)
        return EXIT_ERROR
    except ImportError as error:
        print(f"error: {explain_import(error)}", file=sys.stderr)
        return EXIT_ERROR
    except (Interrupted, KeyboardInterrupt) as error:
        print(f"stopped: {str(error) or 'by Ctrl-C'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    run_program(lambda: main(sys.argv[1:]))
