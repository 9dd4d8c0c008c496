"""The members of the cluster over HTTP: add, remove, hand leadership over."""

from raftq.protocol.calls import AddMember, MembersCall, RemoveMember, TransferLeadership
from raftq.protocol.fields import NAME_PATTERN, MemberId
from raftq.protocol.statuses import ClusterStatus
from raftq.server import http_answers as answers
from raftq.server import http_bodies as bodies
from raftq.server.http_handler import Handler, path_word


class _MembersHandler(Handler):
    """Answers with the cluster as it is afterwards."""

    async def change(self, call: MembersCall, timeout_ms: int) -> None:
        """Execute a call and answer."""
        reply = await self.execute(call, timeout_ms)
        assert isinstance(reply, ClusterStatus)
        self.reply(answers.cluster_answer(reply))


class MembersHandler(_MembersHandler):
    """POST /v1/cluster/members."""

    op = "add_member"

    async def post(self) -> None:
        """Add a node."""
        body = self.body(bodies.AddMemberBody)
        await self.change(AddMember(body.id, body.peer_address), body.timeout_ms)


class MemberHandler(_MembersHandler):
    """DELETE /v1/cluster/members/{member}."""

    op = "remove_member"
    parameters = frozenset({"timeout_ms"})

    async def delete(self, member: str) -> None:
        """Remove a member."""
        id_ = path_word(member, MemberId, "member", f"match {NAME_PATTERN}")
        await self.change(RemoveMember(id_), self.query_timeout_ms())


class TransferLeaderHandler(_MembersHandler):
    """POST /v1/cluster/transfer-leader."""

    op = "transfer_leadership"

    async def post(self) -> None:
        """Hand leadership over."""
        body = self.body(bodies.TransferLeaderBody)
        await self.change(TransferLeadership(body.to), body.timeout_ms)
