"""The seal: what is sealed opens with its key at its place, and nowhere else."""

import base64
import subprocess
import sys

import pytest

from formicary.runner.core.records import Secret, SecretKind
from formicary.runner.store.seal import Broken, Seal, place_of

SEAL = Seal(bytes(range(32)))
SECRET = Secret(id=1, repository_id=5, job_type="ci", name="Key", branches=("main",), events=("push",))


def test_a_value_comes_back_and_is_nowhere_in_what_is_sealed():
    sealed = SEAL.seal("hunter2-äß\n", *place_of(SECRET))
    assert SEAL.open(sealed, *place_of(SECRET)) == "hunter2-äß\n"
    assert sealed.isascii() and b"hunter2" not in base64.b64decode(sealed.partition(":")[2])
    assert SEAL.seal("hunter2-äß\n", *place_of(SECRET)) != sealed, "no nonce is used twice"


def test_every_flipped_bit_is_found():
    sealed = SEAL.seal("hunter2", *place_of(SECRET))
    data = base64.b64decode(sealed.partition(":")[2])
    assert len(data) == 12 + len("hunter2") + 16
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Broken):
            SEAL.open(f"1:{base64.b64encode(changed).decode()}", *place_of(SECRET))


@pytest.mark.parametrize("sealed", ["", "1:", "1:AAAA", "1:%%%", "1:é", "x"])
def test_what_is_no_seal_does_not_open(sealed):
    with pytest.raises(Broken):
        SEAL.open(sealed, *place_of(SECRET))


@pytest.mark.parametrize(
    "moved",
    [
        {"organization_id": "other"},
        {"repository_id": 6},
        {"repository_id": None},
        {"job_type": "deploy"},
        {"job_type": ""},
        {"kind": SecretKind.CREDENTIAL},
        {"name": "Key2"},
        {"branches": ()},
        {"branches": ("main", "*")},
        {"events": ()},
    ],
)
def test_it_opens_at_no_other_place_and_with_no_other_limits(moved):
    sealed = SEAL.seal("hunter2", *place_of(SECRET))
    with pytest.raises(Broken):
        SEAL.open(sealed, *place_of(SECRET.model_copy(update=moved)))


def test_places_cannot_be_mistaken_for_each_other():
    one, other = Secret(name="c", job_type="a"), Secret(name='c","a', job_type="")
    with pytest.raises(Broken):
        SEAL.open(SEAL.seal("hunter2", *place_of(one)), *place_of(other))


def test_another_key_has_another_id_and_opens_nothing():
    other = Seal(bytes(32))
    assert other.key_id != SEAL.key_id and bytes(32).hex() not in repr(other)
    with pytest.raises(Broken):
        other.open(SEAL.seal("hunter2", *place_of(SECRET)), *place_of(SECRET))


def test_the_library_comes_with_the_first_secret():
    code = (
        "import sys, formicary.cli.serve, formicary.cli.run; from formicary.runner.store.seal import Seal\n"
        "seal = Seal(bytes(32)); assert 'cryptography' not in sys.modules\n"
        "seal.seal('x'); assert 'cryptography' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
