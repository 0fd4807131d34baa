"""`enfold login`, `enfold logout`, `enfold whoami`."""

import argparse
import sys

from enfold.cli.arguments import add_verb

_LOGIN = """\
  enfold login                     # asks, or goes through the browser
  enfold login < token.txt         # keeps the token out of the shell's history
  HF_TOKEN=hf_… enfold run …       # for one command, nothing stored
"""


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    login = add_verb(
        verbs,
        common,
        "login",
        help="store an access token",
        description="Store an access token for the hub, where every library of the official client finds it.",
        examples=_LOGIN,
    )
    login.add_argument("--token", help="the token (default: asked for, or a line on standard input)")
    login.add_argument("--force", action="store_true", help="log in again even if a token is stored")
    login.set_defaults(run=_login, error=login.error)
    logout = add_verb(
        verbs,
        common,
        "logout",
        help="forget the stored token",
        description="Forget the stored access token.",
        examples="  enfold logout\n",
    )
    logout.set_defaults(run=_logout)
    whoami = add_verb(
        verbs,
        common,
        "whoami",
        help="show whose token it is",
        description="Ask the hub whose token is stored (or in HF_TOKEN); print the account and its organisations.",
        examples="  enfold whoami\n",
    )
    whoami.set_defaults(run=_whoami)


def _login(asked: argparse.Namespace) -> None:
    from enfold.hub.account import log_in

    token = asked.token
    if token is None and not sys.stdin.isatty():
        token = sys.stdin.readline().strip()
        if not token:
            asked.error("no token: give --token, or a line on standard input")
    print(f"logged in as {log_in(token, again=asked.force)}")


def _logout(asked: argparse.Namespace) -> None:
    from enfold.hub.account import log_out

    print("logged out" if log_out() else "nobody was logged in")


def _whoami(asked: argparse.Namespace) -> None:
    from enfold.hub.account import who_am_i

    account = who_am_i()
    print(account["name"])
    if organisations := [organisation["name"] for organisation in account.get("orgs", [])]:
        print(f"organisations: {', '.join(organisations)}")
