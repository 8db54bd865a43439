"""The command ``orthobench``: runs that survive dead jobs, reports, the site, checks of results, and studies."""

import argparse
import sys

from orthobench.studies.commands import add_to as add_studies

SHOWN = 20  # kinds of problems on a screen


def main(argv=None):
    """Run a subcommand; return 0, 1 where something about the results is wrong, or 2 where it can't be run."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if words[:1] == ["report"]:  # whose options name what the benchmarks declare
            from orthobench.report.command import main as report

            return report(words[1:])
        if words[:1] == ["run"]:  # whose options are Benchopt's, too
            from orthobench.runs.options import parser

            own = parser().parse_known_args(words[1:])
            from orthobench.runs.run import main as run

            return run(*own)
        arguments = _parser().parse_args(words)
        return arguments.run(arguments)
    except ModuleNotFoundError as error:
        reason = f"{error}. Install what the site needs: pip install 'orthobench[site]'"
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
    print(f"error: {reason}", file=sys.stderr)
    return 2


def _parser():
    parser = argparse.ArgumentParser(
        prog="orthobench",
        description="Runs, reports, published results, their site and checks, and studies.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("run", help="`benchopt run` that loses nothing, shows how far it is, and has an exit code")

    quick = commands.add_parser("quick", help="run the quick configuration of every benchmark, and show what it found")
    quick.add_argument("folders", nargs="*", metavar="FOLDER", help="benchmarks (default: all)")
    quick.set_defaults(run=_quick)

    doctor = commands.add_parser("doctor", help="say what can run here, and what is missing, with its command")
    doctor.set_defaults(run=_doctor)

    commands.add_parser("report", help="print leaderboards, claims, learning rates or failures of results")

    site = commands.add_parser("site", help="write the site from published results")
    site.add_argument(
        "--results", default="results", metavar="FOLDER", help="BENCHMARK/MACHINE/*.parquet (%(default)s)"
    )
    site.add_argument("--out", default="site", metavar="FOLDER", help="where it is written (default: %(default)s)")
    site.add_argument("--repository", metavar="URL", help="where links to code lead")
    site.set_defaults(run=_site)

    publish = commands.add_parser("publish", help="copy a result file to its place among the published ones")
    publish.add_argument("file", metavar="FILE", help="a .parquet file that `benchopt run` wrote")
    publish.add_argument("--machine", required=True, metavar="NAME", help="of the folder, such as epyc_2_cores")
    publish.add_argument("--name", metavar="NAME", help="of the file there (default: as it is)")
    publish.add_argument("--results", default="results", metavar="FOLDER", help="(default: %(default)s)")
    publish.set_defaults(run=_publish)

    verify = commands.add_parser("verify", help="check published results, and the site if it has been built")
    verify.add_argument("--results", default="results", metavar="FOLDER", help="(default: %(default)s)")
    verify.add_argument("--site", metavar="FOLDER", help="compare this site with the rows, figure by figure")
    verify.add_argument("--repository", metavar="URL", help="the one that the site was built with")
    verify.set_defaults(run=_verify)

    add_studies(commands)
    return parser


def _quick(arguments):
    from orthobench.runs import quick

    return quick.run(arguments.folders)


def _doctor(arguments):
    from orthobench.runs import doctor

    return doctor.run()


def _site(arguments):
    from orthobench.report.site import build  # imports what only the site needs

    where = {"address": arguments.repository} if arguments.repository else {}
    problems = build(arguments.results, arguments.out, **where)
    _print(problems)
    print(f"{arguments.out}/index.html: open it in a browser; it needs no network.")
    return 1 if problems else 0


def _publish(arguments):
    from orthobench.report.publish import publish
    from orthobench.report.site.documents import find_root

    root = find_root(arguments.results)
    print(publish(arguments.file, arguments.results, arguments.machine, arguments.name, root))
    return 0


def _verify(arguments):
    from orthobench.report.site.documents import find_root
    from orthobench.report.verify import check_site, verify
    from orthobench.runs.planned import planned_cells

    root = find_root(arguments.results)
    problems, notes = verify(arguments.results, root, planned_cells)
    if arguments.site:
        where = {"address": arguments.repository} if arguments.repository else {}
        more = check_site(arguments.results, arguments.site, root, **where)
        problems, notes = problems + more[0], notes + more[1]
    for note in notes:
        print(note)
    _print(problems)
    print(f"{len(problems)} problem{'s' * (len(problems) != 1)} in {arguments.results}")
    return 1 if problems else 0


def _print(problems):
    """Print problems, those of one kind together, on one screen."""
    groups = {}
    for problem in problems:
        groups.setdefault(problem.what, []).append(problem.where)
    for what, places in list(groups.items())[:SHOWN]:
        more = f" and {len(places) - 2} more" if len(places) > 2 else ""
        print(f"! {', '.join(places[:2])}{more}: {what}", file=sys.stderr)
    if len(groups) > SHOWN:
        print(f"! and {len(groups) - SHOWN} kinds of problems more", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
