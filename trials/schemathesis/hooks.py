"""What a client of Cardea does that openapi.json can only say in words."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """Nobody but the trial signs in as this user."""
    return (case.path_parameters or {}).get("username") != "admin"
