"""Write the fixture of the present format: `python -m tests.support.format_fixtures`.

To be run once, when nothing of a format changes any more before it is released; a fixture that is
committed is never written again. It refuses a folder that exists.
"""

from pathlib import Path

from tests.support.format_fixtures import story, writing

from raftq.protocol.versions import SNAPSHOT_FORMAT_VERSION

FIXTURES = Path(__file__).parents[2] / "fixtures"

if __name__ == "__main__":
    folder = FIXTURES / f"format_{SNAPSHOT_FORMAT_VERSION}"
    writing.run(folder, story.before_the_snapshot, story.after_the_snapshot)
    print(folder)
