"""What is set for the cluster and for keys, over HTTP: the quota, limits, schedules."""

from typing import Final

from raftq.protocol.calls import Call, SchedulesCall, SettingsCall
from raftq.protocol.control import DeleteSchedule, SetLimit, SetQuota, SetSchedule
from raftq.protocol.fields import NAME_PATTERN, Key, ScheduleName
from raftq.protocol.limits import KEY_CHARACTERS_MAX
from raftq.protocol.options import KeyLimit, Quota
from raftq.protocol.replies import Done
from raftq.protocol.statuses import ScheduleList, Settings
from raftq.server.control import answers
from raftq.server.control.options import ScheduleBody, schedule_of
from raftq.server.http_handler import Handler, by_method, path_word

_READ: Final = frozenset({"consistency", "timeout_ms"})
_CHANGE: Final = frozenset({"timeout_ms"})
_KEY_EXPECTED: Final = f"have 1 to {KEY_CHARACTERS_MAX} characters"


class _SettingHandler(Handler):
    """Answers a command with whether it changed anything."""

    async def change(self, op: str, call: Call) -> Done:
        """Execute a command that sets something."""
        self.op = op
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, Done)
        return reply

    async def read_settings(self, after: Key | None = None) -> Settings:
        """Read what is set for the cluster and for keys."""
        call = SettingsCall(self.query_consistency(), after)
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, Settings)
        return reply

    async def read_schedules(self, name: str | None, after: str | None = None) -> ScheduleList:
        """Read schedules behind one, or one."""
        call = SchedulesCall(name, self.query_consistency(), after)
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, ScheduleList)
        return reply


class QuotaHandler(_SettingHandler):
    """GET and PUT /v1/quota."""

    op = "settings"
    parameters_of = by_method(GET=_READ, PUT=_CHANGE)

    async def get(self) -> None:
        """Return the quota of the cluster."""
        self.reply((await self.read_settings()).quota)

    async def put(self) -> None:
        """Set the quota of the cluster; what is left out is not limited."""
        quota = self.body(Quota)
        self.reply(answers.changed_answer(await self.change("set_quota", SetQuota(quota))))


class LimitsHandler(_SettingHandler):
    """GET /v1/limits."""

    op = "settings"
    parameters = _READ | {"after_key"}

    async def get(self) -> None:
        """Return limit keys that are set or in use: those behind one, or the first."""
        settings = await self.read_settings(self.query_word("after_key", Key, _KEY_EXPECTED))
        found = [answers.limit_answer(each) for each in settings.limits]
        self.reply(answers.LimitsAnswer(found, settings.next_after))


class LimitHandler(_SettingHandler):
    """PUT and DELETE /v1/limits/{key}."""

    op = "set_limit"
    parameters = _CHANGE

    async def put(self, key: str) -> None:
        """Set what holds for all tasks of a limit key."""
        await self._set(key, self.body(KeyLimit))

    async def delete(self, key: str) -> None:
        """Let tasks of the key start freely."""
        await self._set(key, KeyLimit())

    async def _set(self, key: str, limit: KeyLimit) -> None:
        command = SetLimit(path_word(key, Key, "key", _KEY_EXPECTED), limit)
        self.reply(answers.changed_answer(await self.change("set_limit", command)))


class SchedulesHandler(_SettingHandler):
    """GET /v1/schedules."""

    op = "schedules"
    parameters = _READ | {"after_name"}

    async def get(self) -> None:
        """Return the schedules behind one, or the first."""
        after = self.query_word("after_name", ScheduleName, f"match {NAME_PATTERN}")
        found = await self.read_schedules(None, after)
        shown = [answers.schedule_answer(each) for each in found.schedules]
        self.reply(answers.SchedulesAnswer(shown, found.next_after))


class ScheduleHandler(_SettingHandler):
    """GET, PUT and DELETE /v1/schedules/{name}."""

    op = "schedules"
    parameters_of = by_method(GET=_READ, PUT=_CHANGE, DELETE=_CHANGE)

    async def get(self, name: str) -> None:
        """Return one schedule."""
        (found,) = (await self.read_schedules(_schedule(name))).schedules
        self.reply(answers.schedule_answer(found))

    async def put(self, name: str) -> None:
        """Create or replace a schedule."""
        command = SetSchedule(_schedule(name), schedule_of(self.body(ScheduleBody)))
        self.reply(answers.changed_answer(await self.change("set_schedule", command)))

    async def delete(self, name: str) -> None:
        """Delete a schedule; repeating it changes nothing."""
        command = DeleteSchedule(_schedule(name))
        self.reply(answers.changed_answer(await self.change("delete_schedule", command)))


def _schedule(text: str) -> ScheduleName:
    return path_word(text, ScheduleName, "schedule", f"match {NAME_PATTERN}")
