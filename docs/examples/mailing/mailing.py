"""The App of the programs beside it; `raftq worker mailing:app` runs its tasks."""

from raftq.worker import App, current

app = App()  # At RAFTQ_ADDRESSES, else at the nodes of `raftq dev`.


@app.task(queue="mail", attempts_max=5, timeout="30s")
async def send_mail(address: str, subject: str) -> str:
    """Pretend to send a mail."""
    current().logger.info("sending")
    return f"{subject} to {address}"


@app.task(queue="texts")
def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())
