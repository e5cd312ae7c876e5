"""`make bench`: the gateway and the embedded PFS side by side with what they are measured against.

Prints tables of medians and ratios. `ARGS="store"` or `ARGS="gateway"` measures one of the two, `--only PART`
a part, `--quick` less of everything.
"""

from __future__ import annotations

import argparse

from bench import gateway, store

MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("gateway", "store"), help="default: both")
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the bytes, one round")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large file (default 1024)")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*gateway.PARTS, *store.PARTS],
        help="one part alone; may be repeated",
    )
    options = parser.parse_args()
    size = options.size * MIB // (16 if options.quick else 1)
    for module in (gateway, store):
        name = module.__name__.rpartition(".")[2]
        parts = [part for part in module.PARTS if options.only is None or part in options.only]
        if parts and options.what in (None, name):
            module.run(parts, quick=options.quick, size=size)


if __name__ == "__main__":
    main()
