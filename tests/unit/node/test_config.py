"""Settings: where each comes from, and what a wrong one is told."""

from pathlib import Path

import pytest

from raftq.node.config import ConfigError, read_config
from raftq.node.settings import SETTINGS, NodeConfig, address_text, parse_address

CLUSTER = "n1=127.0.0.1:7621,n2=127.0.0.1:7622,n3=127.0.0.1:7623"
NEEDED = {"node_id": "n1", "data_dir": "/data", "cluster": CLUSTER}


def flags(**settings: str) -> list[str]:
    return [part for key, value in settings.items()
            for part in ("--" + key.replace("_", "-"), value)]  # fmt: skip


def read(environment: dict[str, str] | None = None, **settings: str) -> NodeConfig:
    return read_config(flags(**(NEEDED | settings)), environment or {})


def wrong(**settings: str) -> str:
    with pytest.raises(ConfigError) as error:
        read_config(flags(**(NEEDED | settings)), {})
    return str(error.value)


def test_the_three_needed_settings_are_enough() -> None:
    config = read()
    assert (config.node_id, config.data_dir) == ("n1", Path("/data"))
    assert config.cluster["n2"] == ("127.0.0.1", 7622)
    assert config.native == ("127.0.0.1", 7601)
    assert config.http == ("127.0.0.1", 7611)
    assert config.peer == ("127.0.0.1", 7621)
    assert config.sources["native"] == "the default"
    assert config.sources["node_id"] == "from --node-id"


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_setting_is_named_with_every_way_to_give_it(key: str) -> None:
    given = {name: value for name, value in NEEDED.items() if name != key}
    with pytest.raises(ConfigError) as error:
        read_config(flags(**given), {})
    text = str(error.value)
    setting = next(each for each in SETTINGS if each.key == key)
    for word in (key, "missing", setting.flag, setting.variable, setting.text):
        assert word in text


def test_flags_come_before_environment_before_file_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "raftq.toml"
    file.write_text('log_level = "error"\nhttp = "127.0.0.1:1"\nnative = "127.0.0.1:1"\n')
    environment = {"RAFTQ_HTTP": "127.0.0.1:2", "RAFTQ_NATIVE": "127.0.0.1:2"}
    config = read(environment, native="127.0.0.1:3", config=str(file))
    assert (config.native[1], config.http[1], config.log_level) == (3, 2, "error")
    assert config.peer == ("127.0.0.1", 7621)
    assert config.sources == {**config.sources,
        "native": "from --native", "http": "from RAFTQ_HTTP", "log_level": f"from {file}",
        "peer": "the default"}  # fmt: skip


def test_everything_can_come_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "raftq.toml"
    file.write_text(
        'node_id = "n2"\ndata_dir = "/d"\nelection_timeout_ms = 700\n'
        '[cluster]\nn1 = "a:1"\nn2 = "[::1]:2"\n'
    )
    from_file = read_config([], {"RAFTQ_CONFIG": str(file)})
    assert from_file.cluster == {"n1": ("a", 1), "n2": ("::1", 2)}
    assert from_file.election_timeout_ms == 700
    environment = {"RAFTQ_NODE_ID": "n2", "RAFTQ_DATA_DIR": "/d", "RAFTQ_CLUSTER": "n2=b:1"}
    assert read_config([], environment).cluster == {"n2": ("b", 1)}


WRONG = [
    ("node_id", "a b", "letters"),
    ("node_id", "", "letters"),
    ("data_dir", "", "a path"),
    ("native", "7601", "host:port"),
    ("native", "host:", "host:port"),
    ("native", ":7601", "host:port"),
    ("http", "h:0", "1 to 65535"),
    ("http", "h:65536", "1 to 65535"),
    ("peer", "h:-1", "1 to 65535"),
    ("peer", "h:" + "1" * 5_000, "1 to 65535"),
    ("advertise_native", "h", "host:port"),
    ("advertise_http", "h:x", "host:port"),
    ("cluster", "", "n1=127.0.0.1:7621"),
    ("cluster", "n1", "n1=127.0.0.1:7621"),
    ("cluster", "n1=h", "n1=127.0.0.1:7621"),
    ("cluster", "n1=h:1,n1=h:2", "n1=127.0.0.1:7621"),
    ("cluster", "n1=h:1,n2=h:1", "differ"),
    ("cluster", "n 1=h:1", "n1=127.0.0.1:7621"),
    ("cluster", ",".join(f"n{i}=h:{i}" for i in range(1, 9)), "1 to 7"),
    ("election_timeout_ms", "99", "100 to 60000"),
    ("election_timeout_ms", "1.5", "whole number"),
    ("snapshot_entries", "-1", "10 to 10000000"),
    ("snapshot_entries", "9" * 5_000, "10 to 10000000"),
    ("drain_timeout_ms", "soon", "0 to 600000"),
    ("log_level", "loud", "debug or info or warning or error"),
    ("log_format", "xml", "auto or json or text"),
    *((key, "/no/such/file", "a file that exists") for key in
      ("peer_tls_ca", "peer_tls_cert", "peer_tls_key", "client_tls_cert", "client_tls_key",
       "tokens_file")),
    ("tokens_file", "/tmp", "a file that exists"),
    ("metrics_open", "yes", "true or false"),
    ("join", "yes", "true or false"),
    ("insecure", "1", "true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "found", "allowed"), WRONG,
                         ids=[f"{key}={found[:20]}" for key, found, _ in WRONG])  # fmt: skip
def test_a_wrong_setting_names_key_found_source_and_allowed(
    key: str, found: str, allowed: str
) -> None:
    text = wrong(**{key: found})
    assert text.startswith(f"{key} is {found!r} (from --{key.replace('_', '-')}); allowed is: ")
    assert allowed in text.partition("allowed is:")[2]
    given = {name: value for name, value in NEEDED.items() if name != key}
    with pytest.raises(ConfigError) as error:
        read_config(flags(**given), {f"RAFTQ_{key.upper()}": found})
    assert f"from RAFTQ_{key.upper()}" in str(error.value)


def test_every_setting_has_a_case_above() -> None:
    assert {key for key, _, _ in WRONG} == {setting.key for setting in SETTINGS}


def test_a_node_outside_its_cluster_is_refused() -> None:
    text = wrong(node_id="n4")
    assert "node_id is 'n4'" in text and "n1, n2, n3" in text


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    assert str(missing) in wrong(config=str(missing))
    for content in (b"node_id = ", b"\xff\xfe"):
        broken = tmp_path / "broken.toml"
        broken.write_bytes(content)
        assert str(broken) in wrong(config=str(broken))
    assert str(tmp_path) in wrong(config=str(tmp_path))


def test_an_unknown_setting_in_a_file_is_refused_with_advice(tmp_path: Path) -> None:
    file = tmp_path / "raftq.toml"
    file.write_text('nod_id = "n1"\n')
    assert "did you mean node_id?" in wrong(config=str(file))
    file.write_text('zzzzzz = "n1"\n')
    assert "known are: node_id, data_dir" in wrong(config=str(file))


def test_a_wrong_type_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "raftq.toml"
    for line in ("http = 7611", "log_level = true", 'http = ["h:1"]'):
        file.write_text(line + "\n")
        assert f"from {file}" in wrong(config=str(file))


@pytest.mark.parametrize("argument", ["--nod-id", "--node", "x"])
def test_an_unknown_flag_ends_with_code_2(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        read_config([*flags(**NEEDED), argument, "n1"], {})
    assert end.value.code == 2
    assert argument in capsys.readouterr().err


def test_addresses_read_back_as_they_are_written() -> None:
    for text in ("127.0.0.1:7601", "[::1]:7601", "raftq-0.raftq.svc:1"):
        assert address_text(parse_address(text)) == text


def test_a_switch_alone_means_true_and_can_be_said_everywhere(tmp_path: Path) -> None:
    assert read().insecure is False
    assert read_config([*flags(**NEEDED), "--insecure"], {}).insecure is True
    assert read(insecure="false").insecure is False
    assert read({"RAFTQ_INSECURE": "true"}).insecure is True
    file = tmp_path / "raftq.toml"
    file.write_text("insecure = true\nmetrics_open = false\n")
    assert read(config=str(file)).insecure is True


def test_a_node_that_listens_everywhere_is_reached_where_its_peers_reach_it() -> None:
    everywhere = {"native": "0.0.0.0:7601", "http": "[::]:7611", "insecure": "true"}
    cluster = "n1=n1.example:7621,n2=n2.example:7621"
    config = read({}, cluster=cluster, **everywhere)
    assert config.facts == {"native": "n1.example:7601", "http": "n1.example:7611"}
    advertised = read({}, cluster=cluster, advertise_native="q.example:1", **everywhere)
    assert advertised.facts["native"] == "q.example:1"


def test_clients_are_told_the_advertised_addresses() -> None:
    assert read().facts == {"native": "127.0.0.1:7601", "http": "127.0.0.1:7611"}
    config = read(advertise_native="q.example:1", advertise_http="[::1]:2")
    assert config.facts == {"native": "q.example:1", "http": "[::1]:2"}
