"""What can be wrong with a script that a backup names."""

from kit.errors import HelenusError


class ScriptsNotConfigured(HelenusError):
    """The agent has no script directory, so that none may run; `fields`: script."""

    code = "scripts_not_configured"
    status = 403
    todo = "Set `scripts.directory` in the node's agent.toml and restart its agent, or leave the scripts out."


class ScriptNotFound(HelenusError):
    """The script directory has no such script, or isn't there; `fields`: script."""

    code = "script_not_found"
    status = 404
    todo = (
        "Put the script into the script directory (`scripts.directory` in agent.toml) of the node, or correct its name."
    )


class ScriptRefused(HelenusError):
    """A script, or the script directory, that somebody else than root and the agent's user could have changed, or that
    is no plain executable file; `fields`: script, reason."""

    code = "script_refused"
    status = 403
    todo = (
        "Make script and directory belong to root or the agent's user (chown), writable by nobody else (chmod go-w), "
        "and the script a plain executable file (chmod +x), no link."
    )


class ScriptFailed(HelenusError):
    """A script that ended with another exit code than 0, or by a signal, or could not be started; `fields`: script,
    when (pre or post), exit (negative: the signal's number; null: not started), output (the end of what it said)."""

    code = "script_failed"
    todo = "Read what the script said, correct what it names on the node, and take the backup again."


class ScriptTooSlow(HelenusError):
    """A script that was not through in its time, and was killed with all that it had started; `fields`: script, when,
    seconds, output (the end of what it said)."""

    code = "script_too_slow"
    status = 504
    todo = "See what the script waits for; raise `scripts.timeout_seconds` in agent.toml if it only needs longer."
