"""Mails by FastAPI: `uvicorn fastapi_api:api`, beside `raftq worker mailing:app`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from mailing import app, send_mail
from pydantic import BaseModel

from raftq.client import Conflict, OutcomeUnknown, TaskState, UnavailableError, UnknownTask


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Close, when the server ends, what the App has opened."""
    async with app:
        yield


api = FastAPI(lifespan=lifespan)


class Mail(BaseModel):
    """What a client sends."""

    address: str
    subject: str


class MailState(BaseModel):
    """What became of it."""

    state: TaskState
    result: str | None = None


@api.put("/mails/{id}", status_code=202)
async def put_mail(id: UUID, mail: Mail) -> dict[str, bool | None]:
    """Enqueue a mail; the client chose its id, so repeating the request is one mail."""
    job = await send_mail.options(id=id).aenqueue(mail.address, mail.subject)
    return {"created": job.created}


@api.get("/mails/{id}")
async def get_mail(id: UUID) -> MailState:
    """Return a mail's state, and the result once there is one."""
    job = send_mail.job(id)
    try:
        status = await job.astatus()
    except UnknownTask:
        raise HTTPException(404, "there is no such mail, or it was sent over an hour ago") from None
    is_done = status.state is TaskState.DONE
    return MailState(state=status.state, result=await job.aresult() if is_done else None)


@api.exception_handler(Conflict)
def refuse_conflict(_: Request, error: Exception) -> JSONResponse:
    """Another mail has this id."""
    return JSONResponse({"detail": str(error)}, 409)


@api.exception_handler(UnavailableError)
@api.exception_handler(OutcomeUnknown)
def ask_to_repeat(_: Request, error: Exception) -> JSONResponse:
    """The cluster did not answer in time; the same request again is safe."""
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "1"})
