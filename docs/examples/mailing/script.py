"""Count the words of many texts: `python script.py`, beside `raftq worker mailing:app`."""

from mailing import app, count_words

TEXTS = [" ".join(["word"] * length) for length in range(1, 101)]


def main() -> None:
    """Enqueue with one call, take results as they come, and close nothing: the exit does."""
    jobs = app.enqueue_many([count_words.draft(text) for text in TEXTS])
    total = 0
    for number, job in enumerate(app.as_completed(jobs, timeout="1m"), start=1):
        total += job.result()
        if number % 50 == 0:
            print(f"{number} of {len(jobs)}")
    print(f"{total} words")


if __name__ == "__main__":
    main()
