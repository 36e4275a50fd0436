"""Finds out what a Redis user may do by doing it, with scratch keys named like a run's, in one script that removes them."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from importlib.resources import files

import redis
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from ..runs import keys

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("SET", "$1", "1", "PX", "10000"),
    ("PEXPIRE", "$1", "10000"),
    ("DEL", "$1"),
    ("TIME",),
    ("EXISTS", "$1"),
    ("PTTL", "$1"),
    ("HSET", "$2", "n", "1"),
    ("HINCRBY", "$2", "n", "1"),
    ("HGET", "$2", "n"),
    ("HMGET", "$2", "n"),
    ("HGETALL", "$2"),
    ("HDEL", "$2", "n"),
    ("XADD", "$3", "MAXLEN", "~", "10", "1-0", "entry", "1"),
    ("XRANGE", "$3", "1-0", "+", "COUNT", "1"),
    ("XREVRANGE", "$3", "+", "-", "COUNT", "1"),
    ("XDEL", "$3", "1-0"),
    ("ZADD", "$4", "1", "a"),
    ("ZCARD", "$4"),
    ("ZCOUNT", "$4", "-inf", "+inf"),
    ("ZLEXCOUNT", "$4", "-", "+"),
    ("ZRANGE", "$4", "0", "0"),
    ("ZSCORE", "$4", "a"),
    ("ZRANGEBYLEX", "$4", "-", "+"),
    ("ZRANGEBYSCORE", "$4", "-inf", "+inf"),
    ("ZREVRANGEBYSCORE", "$4", "+inf", "-inf"),
    ("ZREVRANGE", "$4", "0", "0"),
    ("ZREM", "$4", "a"),
    ("ZREMRANGEBYSCORE", "$4", "-inf", "0"),
)
"""Every command of the scripts, tried; PUBLISH follows, on a channel."""

_REFUSED_TO_USER = ("NOPERM", "ACL failure", "can't run this command", "can't access")


@dataclass(frozen=True, slots=True)
class Probed:
    """`denied`: commands that this user may not use. `refuses`: why the server writes nothing, whoever asks."""

    denied: tuple[str, ...]
    refuses: str | None


def probe(client: redis.Redis) -> Probed:
    """Try everything that runs need. Raises redis-py's errors of connections."""
    run_id = f"doctor-{uuid.uuid4()}"
    scratch = (keys.tombstone(run_id), keys.run(run_id), keys.log(run_id), f"noukai:{{{run_id}}}:set")
    commands = (*COMMANDS, ("PUBLISH", keys.channel(run_id), "1"))
    script = (files(__package__) / "probe.lua").read_text(encoding="utf-8")
    denied = [name for name, tried in _CALLS.items() if not tried(client, script)]
    if not _subscribes(client, keys.channel(run_id)):
        denied.append("SUBSCRIBE")
    refuses = None
    try:
        answers = client.eval(script, len(scratch), *scratch, json.dumps(commands))
    except NoPermissionError:
        return Probed(("EVAL", *denied), None)
    except ResponseError as error:
        return Probed(tuple(denied), _line(error))
    for (command, *_), answer in zip(commands, answers, strict=False):
        said = answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
        if any(words in said for words in _REFUSED_TO_USER):
            denied.append(command)
        elif said:
            refuses = refuses or said.partition("script:")[0].strip()
    return Probed(tuple(denied), refuses)


def _calls(client: redis.Redis, _: str) -> bool:
    try:
        client.evalsha("0" * 40, 0)
    except NoPermissionError:
        return False
    except (NoScriptError, ResponseError):  # no such script; or a reason that the probe itself will meet
        return True
    return True


def _loads(client: redis.Redis, script: str) -> bool:
    try:
        client.script_load(script)
    except NoPermissionError:
        return False
    except ResponseError:
        return True
    return True


_CALLS = {"EVALSHA": _calls, "SCRIPT|LOAD": _loads}


def _subscribes(client: redis.Redis, channel: str) -> bool:
    with client.pubsub() as subscription:  # type: ignore[no-untyped-call]
        try:
            subscription.subscribe(channel)
            subscription.get_message(timeout=1.0)
        except NoPermissionError:
            return False
    return True


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
