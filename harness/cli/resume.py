"""A run that is taken up again: as it was planned, and what may be said to that beside --resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.where import Where
from harness.record.errors import UsageError

if TYPE_CHECKING:
    from harness.cli.run import RunOptions
    from harness.record.plan import Plan


def plan_to_resume(options: RunOptions, folder: Path) -> tuple[Plan, Where]:
    """The plan of the run in `folder`, and where its devices are had, as recorded.

    What was said for when something fails is taken in place of that; all else that was said must be what the plan
    says. Raises UsageError, in the words of the command line, where it is not.
    """
    from harness.measure.cases import Choices
    from harness.measure.planning import plan_of
    from harness.record import command
    from harness.record import plan as plans
    from harness.record.differences import differences, require_same
    from models.spec import ModelError

    recorded = plans.read(folder)
    where = options.where if options.where.recorded else Where.of(recorded.where, options.where.wait_s)
    choices, said = options.choices, set(options.said)
    timeouts = replace(
        recorded.timeouts,
        command_s=(choices if "command_timeout_s" in said else recorded).timeouts.command_s,
        reconnect_s=(choices if "reconnect_timeout_s" in said else recorded).timeouts.reconnect_s,
    )
    planned = replace(recorded, timeouts=timeouts, reboot=choices.reboot if "reboot" in said else recorded.reboot)
    if options.out is not None and options.out.resolve() != folder.resolve():
        raise UsageError(f"--out {options.out}: a run that is taken up goes on in its own folder; leave --out out")
    context = click.get_current_context()
    asked = [param for param in context.command.params if param.name in options.planned]
    if not asked:
        return planned, where
    then = context.command.make_context("run", command.words(command.options_of(replace(recorded, where={}))))

    def plan_with(params: Sequence[click.Parameter]) -> Plan:
        """The plan of then, but for what was said now of these options."""
        given = {field.name: then.params[field.name] for field in fields(Choices)}
        given["formats"] = {**given["formats"], **{_runtime(it): _value(context, it) for it in params if _runtime(it)}}
        given |= {it.name: context.params[it.name] for it in params if it.name in given}
        is_elsewhere = any(it.name == "devices" for it in params)
        devices = where.choose(options.devices) if is_elsewhere else recorded.devices
        return plan_of(Choices(**given), lambda: devices, recorded.run, recorded.command)

    def is_other(params: Sequence[click.Parameter]) -> bool:
        try:
            return bool(differences(recorded, replace(plan_with(params), networks=recorded.networks)))
        except (UsageError, ModelError):
            return True

    if is_other(asked):
        differing = [param for param in asked if _value(context, param) != _value(then, param)]
        others = [param for param in differing if is_other([param])] or differing
        if others:
            said_now = "; ".join(_contradiction(param, context, then) for param in others)
            raise UsageError(f"--resume {folder}: {said_now}; leave that out, or start a new run with it")
        require_same(recorded, plan_with(asked), folder)
    return planned, where


def _contradiction(param: click.Parameter, now: click.Context, then: click.Context) -> str:
    """What was said of an option now, and what the run has."""
    return f"{_shown(param, now)} was asked for, but the run has {_shown(param, then) or f'no {param.opts[0]}'}"


def _value(context: click.Context, param: click.Parameter) -> Any:
    runtime = _runtime(param)
    return context.params["formats"][runtime] if runtime else context.params[param.name or ""]


def _runtime(param: click.Parameter) -> str:
    """Whose format the option chooses, as --caffe2-convolution does; empty for what chooses none."""
    return "" if param.expose_value else (param.name or "").partition("_")[0]


def _shown(param: click.Parameter, context: click.Context) -> str:
    """An option with its value, as it is typed; empty where it is not there."""
    value = _value(context, param)
    if value is None or value is False or value == ():
        return ""
    if value is True:
        return param.opts[0]
    values = value if param.multiple else [",".join(map(str, value)) if isinstance(value, tuple) else value]
    texts = (f"{one:g}" if isinstance(one, float) else str(one) for one in values)
    return " ".join(f"{param.opts[0]} {text}" for text in texts)
