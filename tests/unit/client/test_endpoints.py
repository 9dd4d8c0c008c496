"""Which node is tried next, from what was given, told and met."""

from random import Random

import pytest

from raftq.client.endpoints import FORGIVEN_AFTER_SECONDS, Address, Endpoints, parse_addresses
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.statuses import NodeStatus

A, B, C = ("10.0.0.1", 7601), ("10.0.0.2", 7601), ("10.0.0.3", 7601)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def endpoints(seeds: list[Address] | None = None, clock: Clock | None = None) -> Endpoints:
    return Endpoints(seeds or [A, B, C], Random(1), clock or Clock())


def told(**addresses: str) -> list[NodeStatus]:
    return [NodeStatus(node, at, "", "", "follower", True) for node, at in addresses.items()]


CLUSTER = told(n1="10.0.0.1:7601", n2="10.0.0.2:7601", n3="10.0.0.3:7601")


def chosen(endpoints: Endpoints, times: int = 60) -> set[Address]:
    return {endpoints.choose() for _ in range(times)}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("raftq://a:1,b:2", [("a", 1), ("b", 2)]),
        ("a", [("a", 7601)]),
        ("a:1, b ,", [("a", 1), ("b", 7601)]),
        (["a:1", "raftq://b:2"], [("a", 1), ("b", 2)]),
        ("[::1]:7602", [("::1", 7602)]),
        ("[fe80::1]", [("fe80::1", 7601)]),
        ("::1", [("::1", 7601)]),
    ],
)
def test_addresses_are_read_with_and_without_scheme_and_port(
    written: str | list[str], expected: list[Address]
) -> None:
    assert parse_addresses(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        *("", ",", "raftq://", [], ":7601", "a:", "a:0", "a:65536", "a:x", "a:-1", "a:\u0663"),
        *("[::1", "::1]", "[]", "[x]:1", "http://a:1", "a b:1", "a/b:1", "a:" + "9" * 5_000),
    ],
)
def test_what_is_no_address_is_refused_with_an_example(written: str | list[str]) -> None:
    with pytest.raises(InvalidRequest, match=r"127\.0\.0\.1:7601"):
        parse_addresses(written)


def test_any_given_node_may_be_first() -> None:
    assert chosen(endpoints()) == {A, B, C}


def test_a_known_leader_is_chosen() -> None:
    known = endpoints()
    known.learn(CLUSTER, "n2")
    assert chosen(known) == {B}


def test_a_call_that_any_node_may_answer_spares_the_leader_and_avoids_bad_nodes() -> None:
    nodes = endpoints()
    nodes.learn(CLUSTER, "n1")
    assert {nodes.choose(any_will_do=True) for _ in range(60)} == {A, B, C}
    nodes.failed(B)
    assert {nodes.choose(any_will_do=True) for _ in range(60)} == {A, C}


def test_a_leader_that_failed_is_left_for_the_others() -> None:
    known = endpoints()
    known.learn(CLUSTER, "n2")
    known.failed(B)
    assert chosen(known) == {A, C}


def test_a_node_that_failed_less_is_tried_first() -> None:
    known = endpoints()
    for address in (A, A, B, B, C):
        known.failed(address)
    assert chosen(known) == {C}


def test_a_success_clears_failures() -> None:
    known = endpoints()
    known.failed(A)
    known.succeeded(A)
    assert chosen(known) == {A, B, C}


def test_failures_fade_so_that_a_leader_that_was_slow_once_is_used_again() -> None:
    clock = Clock()
    known = endpoints(clock=clock)
    known.learn(CLUSTER, "n2")
    known.failed(B)
    clock.now += FORGIVEN_AFTER_SECONDS
    assert chosen(known) == {B}


def test_a_node_that_shuts_down_is_avoided_although_it_still_answers() -> None:
    clock = Clock()
    known = endpoints(clock=clock)
    known.learn(CLUSTER, "n1")
    known.leaving(A)
    known.succeeded(A)
    assert chosen(known) == {B, C}
    clock.now += FORGIVEN_AFTER_SECONDS
    assert chosen(known) == {A}


def test_a_node_that_says_hello_with_an_old_leader_does_not_overrule_a_push() -> None:
    known = endpoints()
    known.learn(CLUSTER, "n1")
    known.set_leader("n2", 5)
    known.learn(CLUSTER, "n1")
    assert chosen(known) == {B}


def test_a_push_of_an_older_term_changes_nothing() -> None:
    known = endpoints()
    known.learn(CLUSTER, "n1")
    known.set_leader("n2", 5)
    known.set_leader("n3", 4)
    assert chosen(known) == {B}


def test_a_newly_elected_leader_is_trusted_in_spite_of_old_failures() -> None:
    known = endpoints()
    known.learn(CLUSTER, "n1")
    known.failed(B)
    known.set_leader("n2", 6)
    assert chosen(known) == {B}


def test_without_a_leader_any_node_is_asked() -> None:
    known = endpoints()
    known.learn(CLUSTER, "n1")
    known.set_leader(None, 2)
    assert chosen(known) == {A, B, C}


def test_a_node_that_denies_leading_is_not_asked_again_at_once() -> None:
    known = endpoints()
    known.learn(CLUSTER, "n1")
    known.not_leader(A, None)
    assert chosen(known) == {B, C}
    known.not_leader(C, "n2")
    assert chosen(known) == {B}


def test_nodes_beyond_the_given_ones_are_learnt() -> None:
    known = endpoints([A])
    known.learn(CLUSTER, None)
    assert chosen(known) == {A, B, C}


def test_a_given_address_stays_usable_when_the_advertised_ones_fail() -> None:
    known = endpoints([A])
    known.learn(told(n1="192.168.0.9:7601"), "n1")
    known.failed(("192.168.0.9", 7601))
    assert chosen(known) == {A}


@pytest.mark.parametrize("nonsense", ["", "[::", "x:y", ":0"])
def test_a_node_that_advertises_nonsense_is_reached_by_its_given_address(nonsense: str) -> None:
    known = endpoints([A])
    known.learn(told(n1=nonsense), "n1")
    assert chosen(known) == {A}


def test_greetings_full_of_new_names_do_not_pile_up() -> None:
    known = endpoints([A])
    for number in range(50):
        known.learn(told(**{f"x{number}": f"10.1.0.{number}:7601"}), None)
        known.failed((f"10.1.0.{number}", 7601))
    assert chosen(known) == {A}
    known.failed(A)
    known.failed(A)
    assert chosen(known) == {("10.1.0.49", 7601)}
