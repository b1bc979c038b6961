"""When the role kubernetes_control_plane has the API server's certificate made anew, by what openssl tells of it."""

import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

TASKS = Path(__file__).resolve().parents[2] / "roles/kubernetes_control_plane/tasks/configure.yml"
NAMES = "DNS:kubernetes,DNS:k8s.example.org,DNS:*.apps.example.org,IP:10.0.0.5,IP:2001:db8::5"


def template(text, **known):
    return Templar(DataLoader(), variables=known).template(trust_as_template(text))


def is_made_anew(pki, *names):
    asks, makes_way = (
        next(task for task in yaml.safe_load(TASKS.read_text()) if task["name"].startswith(beginning))
        for beginning in ("Ask whether the API server's", "Make way for")
    )
    known = {"kubernetes_control_plane_address": "10.0.0.5", "kubernetes_control_plane_certificate_names": list(names)}
    results = []
    for name in template(asks["loop"], **known):
        words = asks["ansible.builtin.command"]["argv"]
        argv = [template(word, item=name, __kubernetes_control_plane_pki=str(pki)) for word in words]
        told = subprocess.run(argv, capture_output=True, text=True)
        assert told.returncode in (0, 1)
        results.append({"stdout": told.stdout})
    return template("{{ " + makes_way["when"] + " }}", __kubernetes_control_plane_named={"results": results})


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    files = ["-keyout", folder / "apiserver.key", "-out", folder / "apiserver.crt"]
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", "/CN=kube-apiserver"]
    command = ["openssl", "req", "-x509", *options, *files, "-addext", f"subjectAltName={NAMES}"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    "names", [[], ["k8s.example.org"], ["2001:db8::5", "*.apps.example.org"], ["2001:db8:0:0::5"], ["K8S.example.org"]]
)
def test_a_certificate_with_every_name_stays(pki, names):
    assert is_made_anew(pki, *names) is False


@pytest.mark.parametrize("name", ["example.org", "10.0.0.6", "2001:db8::6", "*.example.org", "kube-apiserver"])
def test_a_certificate_without_a_name_goes(pki, name):
    assert is_made_anew(pki, "k8s.example.org", name) is True


def test_a_key_alone_goes(tmp_path):
    """What a run leaves that was killed while it made both; kubeadm would fail at it for ever."""
    assert is_made_anew(tmp_path) is True
