"""The manifests are what Kubernetes takes, and fit the service and the image."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from authapi.server.main import STOP_SECONDS
from settings import load_settings
from tests.pages.reading import blocks, table
from tests.serving import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.37"
MANIFESTS: dict[str, dict[str, Any]] = {
    f"{each['kind']} {each['metadata']['name']}": each
    for path in sorted(FOLDER.glob("*.yaml"))
    for each in yaml.safe_load_all(path.read_text())
}
DEPLOYMENT = MANIFESTS["Deployment auth-api"]["spec"]
PODS = {name: MANIFESTS[name]["spec"]["template"] for name in MANIFESTS if name[0] in "DJ"}
READY_SECONDS = 2


def only_container(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def test_there_is_what_the_page_says() -> None:
    kinds = {name.split()[0] for name in MANIFESTS}
    assert kinds == {"Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service"}


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_it(name: str) -> None:
    """By the schema of its version, which knows each field, and allows no other."""
    assert kubernetes_validate.validate(MANIFESTS[name], VERSION, strict=True) == VERSION


def test_a_slip_is_found() -> None:
    slip = {**MANIFESTS["Service auth-api"], "sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="sepc"):
        kubernetes_validate.validate(slip, VERSION, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_nothing_that_it_need_not(name: str) -> None:
    spec, container = PODS[name]["spec"], only_container(PODS[name])
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [each["mountPath"] for each in container["volumeMounts"]] == ["/tmp"]
    assert {each["name"] for each in spec["volumes"]} == {"tmp"}
    assert container["resources"]["limits"].keys() == {"memory"}


def test_all_select_the_pods_of_the_deployment() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DEPLOYMENT["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service auth-api"]["spec"]["selector"] == labels
    budget = MANIFESTS["PodDisruptionBudget auth-api"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert budget["minAvailable"] < DEPLOYMENT["replicas"]
    policy = MANIFESTS["NetworkPolicy auth-api"]["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    job = PODS["Job auth-api-migrate"]["metadata"]["labels"]
    assert not job.items() & labels.items()


def test_ports_are_those_of_the_container() -> None:
    container = only_container(PODS["Deployment auth-api"])
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    environ = {each["name"]: each["value"] for each in container["env"]}
    settings = load_settings(environ | {"SECRET_KEY": "s" * 32})
    assert ports == {"http": settings.port, "metrics": settings.metrics_port}
    assert settings.metrics_host == "0.0.0.0"
    (service,) = MANIFESTS["Service auth-api"]["spec"]["ports"]
    assert service["targetPort"] in ports
    rules = MANIFESTS["NetworkPolicy auth-api"]["spec"]["ingress"]
    assert [rule["ports"] for rule in rules] == [[{"port": name}] for name in ports]


def test_probes_and_times_fit_the_service() -> None:
    pod = PODS["Deployment auth-api"]["spec"]
    container = only_container(PODS["Deployment auth-api"])
    asked = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")
    }
    health = {"path": "/healthz", "port": "http"}
    ready = {"path": "/readyz", "port": "http"}
    assert asked == {"startup": health, "readiness": ready, "liveness": health}
    for name in asked:
        assert container[f"{name}Probe"]["timeoutSeconds"] > READY_SECONDS
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > before + STOP_SECONDS
    assert f"{READY_SECONDS} for `/readyz`" in table("Sizes and times")["an answer"][0]


def test_the_secret_is_that_which_the_page_makes() -> None:
    first, *_ = blocks("Kubernetes", "sh")[0].splitlines()
    for pod in PODS.values():
        assert only_container(pod)["envFrom"] == [{"secretRef": {"name": "auth-api"}}]
    assert first.startswith("kubectl create secret generic auth-api ")


def merged(whole: Any, patch: Any) -> Any:
    """As `kubectl patch` does it here: by names, of what is in a list, too."""
    if isinstance(patch, dict):
        return {**whole, **{name: merged(whole.get(name, {}), patch[name]) for name in patch}}
    if isinstance(patch, list):
        known = {each["name"]: each for each in whole or []}
        new = {each["name"]: merged(known.get(each["name"], {}), each) for each in patch}
        return [*(known | new).values()]
    return patch


def test_signing_keys_come_as_a_secret_that_the_process_may_read() -> None:
    patch = yaml.safe_load((FOLDER / "patches" / "signing-keys.yaml").read_text())
    patched = merged(MANIFESTS["Deployment auth-api"], patch)
    assert kubernetes_validate.validate(patched, VERSION, strict=True) == VERSION
    pod = patched["spec"]["template"]["spec"]
    container = only_container(patched["spec"]["template"])
    former = only_container(PODS["Deployment auth-api"])
    assert all(each in container[kind] for kind in ("env", "volumeMounts") for each in former[kind])
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    secrets = {each["name"]: each["secret"] for each in pod["volumes"] if "secret" in each}
    environ = {each["name"]: each["value"] for each in container["env"]}
    folder, _, file = environ["SIGNING_KEYS_FILE"].rpartition("/")
    secret = secrets[mounts[folder]]
    assert secret["defaultMode"] == 0o440
    image = (FOLDER.parent / "container" / "Containerfile").read_text()
    group = pod["securityContext"]["fsGroup"]
    assert f"USER {group}:{group}\n" in image
    _, keys = blocks("Kubernetes", "sh")
    assert f"secret generic {secret['secretName']} --from-file={file} " in keys
    assert f"SIGNING_KEYS_FILE={file} " in keys
