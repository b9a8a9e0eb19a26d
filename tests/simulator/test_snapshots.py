"""Snapshots as documents: versions, what is missing, what is unknown; and the rules beside them."""

from __future__ import annotations

import json

import attrs
import pytest

from wxmp.simulator import Policy, World, WorldError, snapshots


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 99}, "not a snapshot of version 1: it has version 99"),
        ({"version": "1"}, "not a snapshot of version 1: it has version '1'"),
        ({"version": None}, "not a snapshot of version 1: it has version None"),
        ({"now": "soon"}, "the snapshot cannot be read: ValueError"),
        ({"state": {}}, "the snapshot cannot be read: ClassValidationError"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(world, changes, sentence):
    """A snapshot of another version or a broken one is refused, and the world stays as it was."""
    before = world.snapshot()
    with pytest.raises(WorldError, match=f"^{sentence}"):
        world.restore(before | changes)
    assert world.snapshot() == before


def test_no_version_at_all(world):
    """Any other JSON is told apart from a snapshot."""
    with pytest.raises(WorldError, match="it has no version"):
        world.restore({"state": {}})


def test_an_older_snapshot_has_defaults(world):
    """What an older snapshot does not know yet has its default; what it knows too much is read past."""
    world.create_followers(2)
    document = json.loads(json.dumps(world.snapshot()))
    del document["state"]["pay"], document["faults"]
    for account in document["state"]["accounts"].values():
        del account["library"], account["sent"]
        account["of_long_ago"] = 1
    world.restore(document)
    assert len(world.account.users) == 2
    assert world.account.sent == []
    assert world.state.pay.merchants == {}


def test_tokens_work_after_a_restore(desk):
    """The tokens of a snapshot are found again, also in another world."""
    token = desk.token()
    other = World(clock=desk.world.clock)
    other.restore(desk.world.snapshot())
    found = other.find_token(token)
    assert found is not None
    assert found[0].appid == desk.account.appid


def test_rules_travel_as_what_differs():
    """Only what is not the default is written, so that better defaults reach an old document."""
    assert snapshots.policy_document(Policy()) == {}
    assert snapshots.policy_document(Policy(token_life=60)) == {"token_life": 60}


def test_every_rule_survives():
    """Each field of the policy comes back from JSON as it was, whatever its type."""
    whole = json.loads(json.dumps(snapshots.converter().unstructure(Policy())))
    assert set(whole) == {field.name for field in attrs.fields(Policy)}
    assert snapshots.read_policy_document(whole) == Policy()
    changed = attrs.evolve(
        Policy(), daily_quotas={}, minute_quotas={"/x": 1}, callback_hosts=("a.example",), strict_paths=False
    )
    document = json.loads(json.dumps(snapshots.policy_document(changed)))
    assert len(document) == 4
    assert snapshots.read_policy_document(document | {"of_tomorrow": 1}) == changed
    assert type(snapshots.read_policy_document({"daily_quotas": whole["daily_quotas"]}).daily_quotas) is dict


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"token_life": "soon"}, "its policy cannot be read"),
        ({"daily_quotas": 5}, "its policy cannot be read"),
        ([], "its policy is no mapping"),
    ],
)
def test_rules_that_do_not_fit(document, sentence):
    """A value of another type is one sentence."""
    with pytest.raises(WorldError, match=sentence):
        snapshots.read_policy_document(document)
