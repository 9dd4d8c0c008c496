"""Tests of `fastapi_api`, on a cluster in memory: no nodes, no worker."""

from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from fastapi_api import api

from raftq.client import NoLeader
from raftq.testing import Testing

MAIL = {"address": "a@example.org", "subject": "Hello"}


def test_a_mail_is_sent_and_its_result_told(raftq_app: Testing) -> None:
    path = f"/mails/{uuid4()}"
    with TestClient(api) as client:
        assert client.put(path, json=MAIL).json() == {"created": True}
        assert client.get(path).json() == {"state": "ready", "result": None}
        raftq_app.run_pending()
        assert client.get(path).json() == {"state": "done", "result": "Hello to a@example.org"}


def test_a_request_that_is_repeated_is_one_mail(raftq_app: Testing) -> None:
    path = f"/mails/{uuid4()}"
    with TestClient(api) as client:
        assert client.put(path, json=MAIL).json() == {"created": True}
        assert client.put(path, json=MAIL).json() == {"created": False}
        assert client.put(path, json=MAIL | {"subject": "Bye"}).status_code == 409
    assert len(raftq_app.run_pending()) == 1


def test_a_mail_that_nobody_asked_for_is_not_found(raftq_app: Testing) -> None:
    with TestClient(api) as client:
        assert client.get(f"/mails/{uuid4()}").status_code == 404


def test_a_cluster_that_is_away_is_a_reason_to_repeat(
    raftq_app: Testing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise NoLeader("there is no leader")

    monkeypatch.setattr(raftq_app.app.access, "client", away)
    with TestClient(api) as client:
        answer = client.put(f"/mails/{uuid4()}", json=MAIL)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
