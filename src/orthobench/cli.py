"""The command ``orthobench``: the published site, and the checks of published results."""

import argparse
import sys


def main(argv=None):
    """Run a subcommand; return 0, 1 where something about the results is wrong, or 2 where it can't be run."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except ModuleNotFoundError as error:
        reason = f"{error}. Install what the site needs: pip install 'orthobench[site]'"
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
    print(f"error: {reason}", file=sys.stderr)
    return 2


def _parser():
    parser = argparse.ArgumentParser(prog="orthobench", description="Published results: their site, and their checks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    site = commands.add_parser("site", help="write the site from published results")
    site.add_argument(
        "--results", default="results", metavar="FOLDER", help="BENCHMARK/MACHINE/*.parquet (%(default)s)"
    )
    site.add_argument("--out", default="site", metavar="FOLDER", help="where it is written (default: %(default)s)")
    site.add_argument("--repository", metavar="URL", help="where links to code lead")
    site.set_defaults(run=_site)

    return parser


def _site(arguments):
    from orthobench.report.site import build  # imports what only the site needs

    where = {"address": arguments.repository} if arguments.repository else {}
    problems = build(arguments.results, arguments.out, **where)
    _print(problems)
    print(f"{arguments.out}/index.html: open it in a browser; it needs no network.")
    return 1 if problems else 0


def _print(problems):
    for problem in problems:
        print(f"! {problem}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
