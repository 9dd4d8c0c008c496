"""Records: what is one, and what never is."""

from hypothesis import given
from hypothesis import strategies as st

from raftq.storage.record import ENTRY, HEAD_BYTES, crc32c, encode_record, pack_fields, read_record

_u64 = st.integers(0, 2**64 - 1)
_u32 = st.integers(0, 2**32 - 1)


@given(_u32, _u64, _u64, _u32, st.binary(max_size=50), st.binary(max_size=50))
def test_a_record_comes_back_as_it_was_written(
    seed: int, number: int, term: int, synced_bytes: int, body: bytes, before: bytes
) -> None:
    data = before + encode_record(seed, ENTRY, number, term, synced_bytes, body) + b"after"
    record = read_record(data, len(before), seed)
    assert record is not None
    assert (record.tag, record.number, record.term) == (ENTRY, number, term)
    assert (record.synced_bytes, record.body) == (synced_bytes, body)
    assert (record.offset, record.end) == (len(before), len(data) - len(b"after"))


@given(_u32, st.integers(0, 200))
def test_zeros_are_never_a_record(seed: int, length: int) -> None:
    assert read_record(bytes(length), 0, seed) is None


def test_another_seed_a_cut_or_a_wrong_length_is_no_record() -> None:
    whole = encode_record(0, ENTRY, 1, 1)
    assert len(whole) == HEAD_BYTES
    assert read_record(whole, 0, 0) is not None
    assert read_record(whole, 0, 1) is None, "another seed"
    assert read_record(whole[:-1], 0, 0) is None
    fields = pack_fields(ENTRY, 0, 1, 1, 0, 0)
    endless = fields + crc32c(0, fields).to_bytes(4, "little")
    assert read_record(endless, 0, 0) is None, "a reader would never get past it"


@given(st.binary(max_size=300), st.integers(0, 300), _u32)
def test_any_bytes_are_read_without_an_error(data: bytes, offset: int, seed: int) -> None:
    assert read_record(data, offset, seed) is None
