"""Tests of `flask_site`, on a cluster in memory: no nodes, no worker."""

from uuid import uuid4

import pytest
from flask_site import create_app

from raftq.client import ConnectionLost
from raftq.testing import Testing

MAIL = {"address": "a@example.org", "subject": "Hello"}


def test_a_mail_is_sent_and_its_result_told(raftq_app: Testing) -> None:
    path, client = f"/mails/{uuid4()}", create_app().test_client()
    assert client.put(path, data=MAIL).json == {"created": True}
    assert client.get(path).json == {"state": "ready", "result": None}
    raftq_app.run_pending()
    assert client.get(path).json == {"state": "done", "result": "Hello to a@example.org"}


def test_a_request_that_is_repeated_is_one_mail(raftq_app: Testing) -> None:
    path, client = f"/mails/{uuid4()}", create_app().test_client()
    assert client.put(path, data=MAIL).json == {"created": True}
    assert client.put(path, data=MAIL).json == {"created": False}
    assert client.put(path, data=MAIL | {"subject": "Bye"}).status_code == 409
    assert len(raftq_app.run_pending()) == 1


def test_a_mail_that_nobody_asked_for_is_not_found(raftq_app: Testing) -> None:
    assert create_app().test_client().get(f"/mails/{uuid4()}").status_code == 404


def test_a_doubtful_outcome_is_a_reason_to_repeat(
    raftq_app: Testing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(call: object) -> None:
        raise ConnectionLost("it may have happened")

    monkeypatch.setattr(raftq_app.app.access, "run", lose)
    answer = create_app().test_client().put(f"/mails/{uuid4()}", data=MAIL)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
