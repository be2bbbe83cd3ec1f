"""The one file that knows the S3 client: a bucket's verbs, with time limits, in Formicary's own errors. Blocking.

What the network or the server does is a WorldError (wait and retry); wrong keys, a missing bucket, a certificate that
nobody vouches for are SetupErrors, with what to do. A short outage is bridged here: each call is tried three times, and
a download goes on where it was cut.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, BinaryIO, Final, NamedTuple
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from formicary.runner.artifacts import CHUNK, ObjectMissing
from formicary.runner.artifacts.address import VARIABLES, Address, Keys
from formicary.runner.core.errors import FormicaryError, SetupError, WorldError

logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # each of its retries is a warning otherwise

CONNECT: Final = 10.0
"""Seconds to a connection, and to send a first part over it."""
READ: Final = 60.0
"""Seconds without a byte."""
RETRIES: Final = 2
WHOLE_PART: Final = 32 << 20
_BACKOFF: Final = 0.3
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
_KEYS: Final = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidTokenId"}
)
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_REGION: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion"})


class Kept(NamedTuple):
    """One object of the bucket; `at` is when it was put, in seconds since the epoch, `etag` what S3 says of its bytes
    (their MD5 where they were put in one piece)."""

    key: str
    size: int
    at: float
    etag: str


class Bucket:
    """One bucket; keys are whole, the prefix included. Safe for several threads."""

    def __init__(self, address: Address, keys: Keys, *, connect: float = CONNECT, read: float = READ) -> None:
        self.address = address
        try:
            self._client = Minio(
                address.endpoint,
                keys.access,
                keys.secret,
                keys.session,
                secure=address.secure,
                region=address.region,
                http_client=_pool(connect, read),
            )
        except ValueError as error:
            raise SetupError(f"`{address.endpoint}` is no endpoint of S3: {error}") from error

    def put(
        self, key: str, source: BinaryIO, size: int, media: str = "", cache: str = "", *, whole: bool = False
    ) -> None:
        """Put `size` bytes under `key`, in parts where they are many; nobody sees them before they are whole. What
        `source` raises is raised, and then nothing is put. With `whole` up to 32 MiB are one part, held in memory."""
        with self._said():
            self._client.put_object(
                self.address.bucket,
                key,
                source,
                size,
                content_type=media or "application/octet-stream",
                metadata={"Cache-Control": cache} if cache else None,
                part_size=WHOLE_PART if whole else 0,
                num_parallel_uploads=1,  # no threads of its own; one part in memory
            )

    def stat(self, key: str) -> Kept | None:
        try:
            with self._said():
                found = self._client.stat_object(self.address.bucket, key)
        except ObjectMissing:
            return None
        at = found.last_modified.timestamp() if found.last_modified else 0.0
        return Kept(key, found.size or 0, at, found.etag or "")

    def read(self, key: str) -> bytes:
        """A small object, whole. Raises ObjectMissing."""
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        """The object as a stream that can seek: what is read is fetched, from there on. Raises ObjectMissing."""
        found = self.stat(key)
        if found is None:
            raise ObjectMissing(f"{key} is not in the bucket {self.address.bucket} (any more).")
        return io.BufferedReader(_Remote(self, key, found.size), CHUNK)

    def fetch(self, key: str, offset: int) -> Any:
        """The response whose body are the bytes from `offset`; the caller closes it."""
        with self._said():
            return self._client.get_object(self.address.bucket, key, offset=offset)

    def delete(self, key: str) -> None:
        """Remove it; it need not exist."""
        with self._said(missing_is_fine=True):
            self._client.remove_object(self.address.bucket, key)

    def list(self, prefix: str) -> Iterator[Kept]:
        """All objects whose key begins with `prefix`."""
        with self._said():
            for one in self._client.list_objects(self.address.bucket, prefix, recursive=True):
                at = one.last_modified.timestamp() if one.last_modified else 0.0
                yield Kept(one.object_name or "", one.size or 0, at, (one.etag or "").strip('"'))

    def presigned(self, key: str, seconds: float, answer: Mapping[str, str]) -> str:
        """A URL that gives the object to whoever has it, for so long; `answer` are headers of the response."""
        with self._said():
            headers: Any = {f"response-{name}": value for name, value in answer.items()}
            return self._client.presigned_get_object(
                self.address.bucket, key, expires=timedelta(seconds=seconds), response_headers=headers
            )

    def check(self) -> None:
        """Put, read and delete a small object. Raises SetupError, WorldError."""
        key = f"{self.address.prefix}check/{os.urandom(8).hex()}"
        self.put(key, io.BytesIO(b"formicary"), 9)
        try:
            if self.read(key) != b"formicary":
                raise WorldError(f"{self.address} gives back other bytes than were put there.")
        finally:
            self.delete(key)

    @contextmanager
    def _said(self, *, missing_is_fine: bool = False) -> Iterator[None]:
        """The client's errors as ours."""
        try:
            yield
        except S3Error as error:
            if missing_is_fine and error.code in _MISSING:
                return
            raise self.explained(error) from error
        except (MinioException, HTTPError, ParseError) as error:
            raise self.explained(error) from error

    def explained(self, error: Exception) -> FormicaryError:
        """What an error of the client means for whoever waits or sets things up."""
        where = self.address
        if isinstance(error, S3Error):
            return self._refused(error)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return SetupError(f"the certificate of {where.endpoint} is not trusted; name your authority: SSL_CERT_FILE")
        if isinstance(error, (MinioException, ParseError)):
            return WorldError(f"{where.endpoint} does not answer as S3 does ({_short(error)}).")
        return WorldError(f"{where} cannot be reached ({_short(error)}).")

    def _refused(self, error: S3Error) -> FormicaryError:
        where, code = self.address, error.code or ""
        if code in _MISSING:
            return ObjectMissing(f"{error.object_name} is not in the bucket {where.bucket} (any more).")
        if code == "NoSuchBucket":
            return SetupError(f"there is no bucket {where.bucket} at {where.endpoint}; make it, or name another one")
        if code in _KEYS:
            return SetupError(f"{where} refuses these keys ({code}); look at {VARIABLES}, and at what they may do")
        if code in _CLOCK:
            return SetupError(f"{where.endpoint} says that this machine's clock is wrong ({code}); set it right")
        if code in _REGION:
            return SetupError(f"{where} is in another region ({error.message}); say which: region=…")
        return WorldError(f"{where} answered {code}: {error.message}.")


class _Remote(io.RawIOBase):
    """Bytes of an object from wherever it was sought to. A connection that breaks is made again, from there."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket, self._key, self._size = bucket, key, size
        self._at = 0
        self._response: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        wanted = max(start + offset, 0)
        if wanted != self._at:
            self._drop()
        self._at = wanted
        return wanted

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        data = self._read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, wanted: int) -> bytes:
        for left in range(RETRIES, -1, -1):
            if self._response is None:
                self._response = self._bucket.fetch(self._key, self._at)
            try:
                data: bytes = self._response.read(wanted)
            except HTTPError as error:
                self._drop()
                if not left:
                    raise self._bucket.explained(error) from error
                continue
            if data:
                return data
            self._drop()
        raise WorldError(f"{self._key} ends too early in {self._bucket.address}.")

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()
            response.release_conn()

    def close(self) -> None:
        self._drop()
        super().close()


def _pool(connect: float, read: float) -> urllib3.PoolManager:
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=connect, read=read),
        maxsize=16,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        retries=urllib3.Retry(
            total=RETRIES,
            backoff_factor=_BACKOFF,
            status_forcelist=[500, 502, 503, 504],
            respect_retry_after_header=False,  # a thread waits for it; whoever asks again later does so without one
        ),
    )


def _short(error: BaseException) -> str:
    """The innermost reason: the outer ones repeat it with the names of objects in memory."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _short(reason)
    text = str(error).rpartition("Failed to establish a new connection: ")[2]
    return (text[:200] or type(error).__name__).rstrip(".")
