"""The command ``python -m symupdates.port``."""

import argparse
import difflib
import stat
import sys
from collections import Counter
from errno import EACCES
from pathlib import Path

from symupdates.checkpoint import replacing
from symupdates.port import port

KINDS = {
    "silent": "silent: it would run, to other numbers",
    "renamed": "renamed",
    "changed": "changed: it fails or warns",
    "gone": "gone",
}
EPILOG = """\
Exit status: 0, nothing is left to change; 1, something is; 2, a file cannot be read, parsed or written, or the
command is wrong. "by hand" marks what --write leaves to you. The guide to porting: help("symupdates.port").
"""


def main(argv=None):
    """Report what must change in scripts, and change it if asked to; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m symupdates.port",
        description="Report, line by line, what must change for a legacy Theano or Lasagne script to stand on PyTensor "
        "and symupdates alone: silent hazards first, then what was renamed, what changed, and what is gone.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scripts", nargs="+", metavar="script.py", help="a script in Python 3")
    parser.add_argument("--write", action="store_true", help="rewrite what is safe to; comments and formatting stay")
    parser.add_argument("--diff", action="store_true", help="show what --write would change, or has changed, as a diff")
    args = parser.parse_args(argv)
    status = 0
    for script in args.scripts:
        try:
            left = handle(Path(script), args)
        except (OSError, SyntaxError, UnicodeError, ImportError, RecursionError) as error:
            print(f"{script}: {message(error)}", file=sys.stderr)
            status = 2
        else:
            status = max(status, left)
    return status


def message(error):
    """What went wrong, in a line."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, SyntaxError | UnicodeError):
        return f"{error}. Save it in UTF-8, or declare its encoding in the first line, as in # coding: latin-1."
    if isinstance(error, IsADirectoryError):
        return "a directory: give the scripts in it, as in folder/*.py."
    if isinstance(error, RecursionError):
        return "an expression in it is too long, or too deep: divide it, with variables for its parts."
    return getattr(error, "strerror", None) or str(error)


def handle(script, args):
    """Report on a script and rewrite it if asked to; return whether something is left to change."""
    source = script.read_bytes()
    findings, rewritten = port(source)
    told, kind = {}, None
    for finding in findings:
        if finding.kind != kind:
            kind = finding.kind
            print(f"{script}: {KINDS[kind]}")
        arrow = f" → {finding.now}" if finding.now else ""
        hand = "" if finding.rewritten else " (by hand)"
        print(f"{script}:{finding.line}:{finding.column}: {finding.legacy}{arrow}{hand}")
        if finding.why and told.setdefault(finding.why, finding.line) == finding.line:
            print(f"    {finding.why}")
            told[finding.why] = None  # said once
    if args.diff:
        old, new = (text.decode("utf-8", "replace").splitlines(keepends=True) for text in (source, rewritten))
        sys.stdout.writelines(difflib.unified_diff(old, new, f"{script} (legacy)", f"{script} (ported)"))
    if args.write and rewritten != source:
        if not script.stat().st_mode & stat.S_IWUSR:  # which would not keep it from being replaced
            raise PermissionError(EACCES, f"read-only: chmod u+w {script}, to have it rewritten.")
        with replacing(script) as stream:
            stream.write(rewritten)
    by_hand = sum(not finding.rewritten for finding in findings)
    done = len(findings) - by_hand
    if not findings:
        print(f"{script}: nothing to change")
    else:
        counts = ", ".join(f"{n} {name}" for name, n in Counter(finding.kind for finding in findings).items())
        verb = "rewritten" if args.write else "that --write changes"
        print(f"{script}: {counts}; {done} {verb}, {by_hand} by hand")
    return int(by_hand > 0 if args.write else bool(findings))


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # what a terminal cannot show is no reason to stop
    sys.stderr.reconfigure(errors="replace")
    sys.exit(main())
