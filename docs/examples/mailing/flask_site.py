"""Mails by Flask: `flask --app flask_site run`, beside `raftq worker mailing:app`."""

from uuid import UUID

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue
from mailing import send_mail

from raftq.client import Conflict, OutcomeUnknown, TaskState, UnavailableError, UnknownTask

mails = Blueprint("mails", __name__, url_prefix="/mails")


@mails.put("/<uuid:id>")
def put_mail(id: UUID) -> ResponseReturnValue:
    """Enqueue a mail; the client chose its id, so repeating the request is one mail."""
    form = request.form
    job = send_mail.options(id=id).enqueue(form["address"], form["subject"])
    return {"created": job.created}, 202


@mails.get("/<uuid:id>")
def get_mail(id: UUID) -> ResponseReturnValue:
    """Return a mail's state, and the result once there is one."""
    job = send_mail.job(id)
    status = job.status()
    is_done = status.state is TaskState.DONE
    return {"state": status.state, "result": job.result() if is_done else None}


@mails.errorhandler(UnknownTask)
def tell_unknown(error: UnknownTask) -> ResponseReturnValue:
    """There is no such mail, or it was sent over an hour ago."""
    return {"detail": str(error)}, 404


@mails.errorhandler(Conflict)
def refuse_conflict(error: Conflict) -> ResponseReturnValue:
    """Another mail has this id."""
    return {"detail": str(error)}, 409


@mails.errorhandler(UnavailableError)
@mails.errorhandler(OutcomeUnknown)
def ask_to_repeat(error: Exception) -> ResponseReturnValue:
    """The cluster did not answer in time; the same request again is safe."""
    return {"detail": str(error)}, 503, {"Retry-After": "1"}


def create_app() -> Flask:
    """Return the site; the App of the tasks needs no set-up."""
    site = Flask(__name__)
    site.register_blueprint(mails)
    return site
