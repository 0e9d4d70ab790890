"""What of the cluster test bed can be told without a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.cluster import layout
from tests.cluster.errors import ClusterError
from tests.cluster.images import write_image
from tests.cluster.keda_source import SCALERS, with_few_scalers
from tests.cluster.running import Process

_BUILDER = """\
func build(triggerType string) (scalers.Scaler, error) {
	switch triggerType {
	case "activemq":
		return scalers.NewActiveMQScaler(config)
	case "cpu":
		return scalers.NewCPUMemoryScaler(corev1.ResourceCPU, config)
	case "cron":
		return scalers.NewCronScaler(config)
	case "kafka":
		return scalers.NewKafkaScaler(ctx, config)
	case "memory":
		return scalers.NewCPUMemoryScaler(corev1.ResourceMemory, config)
	case "mongodb":
		return scalers.NewMongoDBScaler(ctx, config)
	default:
		return nil, fmt.Errorf("no scaler found for type: %s", triggerType)
	}
}
"""


def test_keda_keeps_its_kafka_cron_cpu_and_memory_scalers() -> None:
    trimmed = with_few_scalers(_BUILDER)
    lines = _BUILDER.splitlines(keepends=True)
    assert trimmed == "".join(lines[:2] + lines[4:12] + lines[14:])
    assert all(f'case "{one}":' in trimmed for one in SCALERS)


@pytest.mark.parametrize("part", ['\tcase "kafka":\n', "\tswitch triggerType {\n", "\tdefault:\n"])
def test_a_keda_that_looks_otherwise_is_told(part: str) -> None:
    with pytest.raises(ClusterError, match="version"):
        with_few_scalers(_BUILDER.replace(part, ""))


def test_the_same_folder_makes_the_same_image(tmp_path: Path) -> None:
    archives = []
    for number in (1, 2):
        root = tmp_path / f"root-{number}"
        (root / "bin").mkdir(parents=True)
        (root / "bin" / "program").write_text("#!/bin/sh\n")
        (root / "bin" / "program").chmod(0o755)
        (root / "bin" / "alias").symlink_to("program")
        os.utime(root / "bin" / "program", (number, number))
        archives.append(tmp_path / f"{number}.tar")
        write_image(archives[-1], "localhost/it:1", root, ["/bin/alias"], "65532:65532")
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_an_image_is_what_its_manifest_says(tmp_path: Path) -> None:
    root, archive = tmp_path / "root", tmp_path / "it.tar"
    (root / "tmp").mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    write_image(archive, "localhost/it:1", root, ["/bin/it", "--now"], "65532:65532")
    with tarfile.open(archive) as image:

        def read(name: str) -> bytes:
            file = image.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(read("manifest.json"))
        assert manifest["RepoTags"] == ["localhost/it:1"]
        configuration = json.loads(read(manifest["Config"]))
        assert configuration["config"]["User"] == "65532:65532"
        assert configuration["config"]["Entrypoint"] == ["/bin/it", "--now"]
        (layer,) = manifest["Layers"]
        digest = hashlib.sha256(read(layer)).hexdigest()
        assert configuration["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
        file = image.extractfile(layer)
        assert file is not None
        with tarfile.open(fileobj=file) as files:
            temporary = files.getmember("tmp")
            assert temporary.mode == 0o1777 and temporary.uid == 0 and temporary.mtime == 0


def test_a_recorded_process_is_that_one_and_no_other(tmp_path: Path) -> None:
    record = tmp_path / "it"
    assert Process.recorded(record) is None
    with subprocess.Popen(["sleep", "600"]) as child:
        process = Process.of(child.pid)
        process.record(record)
        assert Process.recorded(record) == process
        # The same number, of a process that has started at another time.
        Process(child.pid, process.started - 1).record(record)
        assert Process.recorded(record) is None
        process.record(record)
        child.kill()
        assert process.gone_within(10)
        assert Process.recorded(record) is None


def test_sockets_have_short_paths() -> None:
    # unix(7); the kubelet's are the longest.
    assert len(str(layout.HOME / "kubelet" / "device-plugins" / "kubelet.sock")) < 108


@pytest.mark.parametrize("script", ["in-cluster", "load-image"])
def test_scripts_say_what_to_do_without_a_cluster(script: str, tmp_path: Path) -> None:
    copy = tmp_path / "tests" / "cluster" / script
    copy.parent.mkdir(parents=True)
    copy.write_bytes((layout.HERE / script).read_bytes())
    copy.chmod(0o755)
    done = subprocess.run([copy, "anything"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "make cluster-up" in done.stderr
