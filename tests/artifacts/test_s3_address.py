"""What an operator writes to name a bucket, and what is refused."""

import pytest

from formicary.runner.artifacts.address import Address, Keys, address_of, keys_of
from formicary.runner.core.errors import SetupError


def test_an_address():
    """Every part of it, and what is left out."""
    assert address_of("s3://bucket") == Address("bucket", "", "s3.amazonaws.com", None, True)
    assert address_of("s3://b-1/a/b/?endpoint=[::1]:9000&secure=false&region=eu-1") == Address(
        "b-1", "a/b/", "[::1]:9000", "eu-1", False
    )
    assert address_of("s3://bucket/x?endpoint=minio:9000").region == "us-east-1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s3://B/x", "no bucket can be called `B`"),
        ("s3://a..b/x", "no bucket can be called `a..b`"),
        ("s3://10.0.0.1/x", "no bucket can be called `10.0.0.1`"),
        ("s3://ci/x", "3 to 63 small letters"),
        ("s3:///x", "write s3://bucket/prefix"),
        ("http://bucket/x", "write s3://bucket/prefix"),
        ("s3://bucket/x?zone=1", "`zone` is not known"),
        ("s3://bucket?secure=perhaps", "`secure` is true"),
        ("s3://bucket?endpoint=http://x", "`endpoint` is a host"),
        ("s3://bucket/a/../b", "leave them out"),
        ("s3://AKID:sesame@bucket/x", "do not belong"),
        ("s3://bucket/x?secret_key=sesame", "do not belong"),
    ],
)
def test_a_wrong_address_is_refused_with_a_remedy(text, why):
    """Keys in it are refused, and not repeated."""
    with pytest.raises(SetupError, match=why) as refused:
        address_of(text)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "endpoint", ["[::1]:9000", "minio:9000", "127.0.0.1", "s3.eu-central-1.amazonaws.com", "x:99999"]
)
def test_endpoints_that_the_client_takes(endpoint):
    """Or refuses, with a sentence."""
    from formicary.runner.artifacts.bucket import Bucket

    address = address_of(f"s3://bucket?endpoint={endpoint}")
    if endpoint == "x:99999":
        with pytest.raises(SetupError, match="no endpoint of S3"):
            Bucket(address, Keys("a", "b"))
    else:
        assert Bucket(address, Keys("a", "b")).address.endpoint == endpoint


def test_keys():
    """The operator's, else those of AWS's variables."""
    amazon = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_SESSION_TOKEN": "t"}
    assert keys_of("x", "y", amazon) == Keys("x", "y")
    assert keys_of("", "", amazon) == Keys("a", "hush", "t")
    assert "hush" not in repr(keys_of("", "", amazon))
    for half in (("x", ""), ("", "y"), ("", "")):
        with pytest.raises(SetupError, match="set"):
            keys_of(*half, {})
