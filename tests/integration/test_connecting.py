"""Connecting to a given server: with TLS and certificates, or told in plain words why not."""

import asyncio

import pytest
from temporalio.service import RPCError, RPCStatusCode

from tests.servers.temporal import NAMESPACE, Certificates, TlsProxy
from wap.connecting import connect, refused
from wap.errors import ConfigError, TemporalUnavailableError
from wap.settings import TemporalSection


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def proxy(temporal, certificates):
    with TlsProxy(temporal.port, certificates) as proxy:
        yield f"127.0.0.1:{proxy.port}"


def attempt(address, root, **settings: object):
    """The namespace we are connected to."""
    section = TemporalSection(**{"address": address, "namespace": NAMESPACE, **settings})
    return asyncio.run(connect(address, section, root, seconds=1)).namespace


@pytest.fixture
def mutual(certificates):
    """What the proxy wants; paths outside of any project, one of them relative."""
    return {
        "tls_ca": "ca.pem",
        "tls_cert": str(certificates.client[0]),
        "tls_key": str(certificates.client[1]),
        "tls_server_name": certificates.name,
    }


def test_certificates_on_both_sides(proxy, certificates, mutual):
    assert attempt(proxy, certificates.folder, **mutual) == NAMESPACE
    assert attempt(proxy, certificates.folder, **mutual, api_key="sesame") == NAMESPACE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tls_ca": "other-ca.pem"}, "no TLS with the Temporal server"),
        ({"tls_server_name": "elsewhere.test"}, "no TLS with the Temporal server"),
        ({"tls_cert": None, "tls_key": None}, "no TLS with the Temporal server"),
        ({"tls_key": "server.key"}, "no TLS with the Temporal server"),
    ],
)
def test_trouble_with_certificates_is_said_at_once(proxy, certificates, mutual, change, said):
    with pytest.raises(TemporalUnavailableError, match=said) as caught:
        attempt(proxy, certificates.folder, **{**mutual, **change})
    assert "tls_ca" in caught.value.hint
    assert caught.value.where == proxy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tls_cert": "none.pem"}, "the file cannot be read: No such file"),
        ({"tls_cert": None}, "a client certificate and its key go together"),
        ({"tls_ca": "not.pem"}, "the file is not PEM"),
    ],
)
def test_files_that_are_none_start_nothing(proxy, certificates, mutual, change, said):
    (certificates.folder / "not.pem").write_bytes(b"\x30\x82")
    with pytest.raises(ConfigError, match=said):
        attempt(proxy, certificates.folder, **{**mutual, **change})


def test_tls_where_there_is_none(temporal, tmp_path):
    with pytest.raises(TemporalUnavailableError, match="no TLS"):
        attempt(temporal.address, tmp_path, tls=True)


def test_a_server_that_is_away(tmp_path):
    with pytest.raises(TemporalUnavailableError, match="no Temporal server answers"):
        attempt("127.0.0.1:1", tmp_path)


def test_a_namespace_that_is_not_there(temporal, tmp_path):
    with pytest.raises(TemporalUnavailableError, match="knows no namespace 'pond'") as caught:
        attempt(temporal.address, tmp_path, namespace="pond")
    assert "TEMPORAL_NAMESPACE" in caught.value.hint


@pytest.mark.parametrize("status", [RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED])
def test_a_key_that_is_refused_is_never_shown(status):
    settings = TemporalSection(namespace=NAMESPACE, api_key="sesame-123")
    error = refused(RPCError("bad key sesame-123", status, b""), "cloud:7233", settings)
    assert "the key is not accepted for the namespace 'lake'" in str(error)
    other = refused(RPCError("sesame-123?", RPCStatusCode.UNKNOWN, b""), "cloud:7233", settings)
    for one in (error, other):
        assert "sesame" not in str(one)
