"""The manifests in `deploy/kubernetes`: rendered, held against Kubernetes' schemas, compared."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import chat
import chat.__main__
import proxy
import proxy.__main__
from tests.deploy.nginx import DEPLOY, tool

FOLDER: Final = DEPLOY / "kubernetes"
EXAMPLE: Final = FOLDER / "overlays/example"
OPTIONS: Final = (DEPLOY.parent / "docs/options.md").read_text("utf-8")
OPERATIONS: Final = (DEPLOY.parent / "docs/operations.md").read_text("utf-8")

# The oldest with all that is used, which docs/operations.md names, and a recent one.
VERSIONS: Final = ("1.27", "1.36")
# Of operators, which bring their schemas along.
FOREIGN: Final = {"PodMonitor", "Cluster"}
APPS: Final = ("chat-server", "chat-proxy")

Resource = dict[str, Any]


def kubectl() -> str:
    """The one beside this Python, else that of the system."""
    beside = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    return beside or tool("kubectl")


def rendered(folder: Path) -> str:
    return subprocess.run(  # noqa: S603 - ours
        [kubectl(), "kustomize", str(folder)], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def example() -> str:
    """The example as it would be applied."""
    return rendered(EXAMPLE)


@pytest.fixture(scope="module")
def resources(example: str) -> list[Resource]:
    return list(yaml.safe_load_all(example))


def one(resources: list[Resource], kind: str, name: str) -> Resource:
    """The resource of a kind and a name; generated names end with a hash."""
    [found] = [
        each
        for each in resources
        if each["kind"] == kind
        and re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", each["metadata"]["name"])
    ]
    return found


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def deployment(resources: list[Resource], app: str) -> Resource:
    spec: Resource = one(resources, "Deployment", app)["spec"]
    return spec


@pytest.fixture
def pod(deployment: Resource) -> Resource:
    spec: Resource = deployment["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: Resource, app: str) -> Resource:
    [found] = pod["containers"]
    assert found["name"] == app
    assert isinstance(found, dict)
    return found


def ports(container: Resource) -> dict[str, int]:
    return {each["name"]: each["containerPort"] for each in container["ports"]}


def variables(resources: list[Resource], container: Resource) -> dict[str, str]:
    """The variables of a container; those of its pod's address are 127.0.0.1."""
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= one(resources, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {each["name"]: each.get("value", "127.0.0.1") for each in container["env"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_match_schema(example: str, tmp_path: Path, version: str) -> None:
    (tmp_path / "example.yaml").write_text(example)
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version]
    done = subprocess.run(  # noqa: S603 - ours
        [*command, str(tmp_path / "example.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    unknown = {found[1] for line in lines if (found := re.search(r"schema for kind (\w+)", line))}
    assert unknown == FOREIGN
    assert len([line for line in lines if "passed for" in line]) >= 12
    assert f"Kubernetes {VERSIONS[0]}" in OPERATIONS


def test_base_renders_by_itself() -> None:
    kinds = {each["kind"] for each in yaml.safe_load_all(rendered(FOLDER / "base"))}
    assert {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= kinds
    assert not kinds & FOREIGN


def test_everything_is_in_one_namespace(resources: list[Resource]) -> None:
    namespace = one(resources, "Namespace", "chat")
    for each in resources:
        if each is not namespace:
            assert each["metadata"]["namespace"] == "chat", each["metadata"]["name"]
    levels = namespace["metadata"]["labels"]
    assert levels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_are_restricted(pod: Resource, container: Resource) -> None:
    """As https://kubernetes.io/docs/concepts/security/pod-security-standards/ has it, and more."""
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {next(iter(set(each) - {"name"})) for each in pod["volumes"]} <= {"secret", "emptyDir"}
    assert pod["automountServiceAccountToken"] is False


def test_variables_of_services_are_off(pod: Resource) -> None:
    """A service named chat-server would set CHAT_SERVER_PORT, among the options' variables."""
    assert pod["enableServiceLinks"] is False


def test_variables_are_options(resources: list[Resource], container: Resource) -> None:
    for name in variables(resources, container):
        assert f"`{name}`" in OPTIONS


def test_options_and_ports_are_accepted(
    monkeypatch: pytest.MonkeyPatch, resources: list[Resource], container: Resource, app: str
) -> None:
    """Each value by itself; files are read later."""
    for name in [each for each in os.environ if each.startswith(("CHAT_", "PROXY_"))]:
        monkeypatch.delenv(name)
    for name, value in variables(resources, container).items():
        monkeypatch.setenv(name, value)
    module, command, port = {
        "chat-server": ("chat", chat.__main__.command, "grpc"),
        "chat-proxy": ("proxy", proxy.__main__.command, "http"),
    }[app]
    assert container["args"] == ["python", "-m", module]
    with command.make_context(app, []) as context:
        assert ports(container) == {
            port: context.params["port"],
            "metrics": context.params["metrics_port"],
        }


def test_annotations_name_metrics_port(deployment: Resource, container: Resource) -> None:
    annotations = deployment["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports(container)["metrics"])


def test_liveness_depends_on_nothing_else(app: str, container: Resource) -> None:
    """Otherwise a database that is away would restart every pod."""
    port = {"chat-server": "metrics", "chat-proxy": "http"}[app]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": port}


def test_readiness_includes_what_is_behind(resources: list[Resource]) -> None:
    probes = {
        name: one(resources, "Deployment", name)["spec"]["template"]["spec"]["containers"][0][
            "readinessProbe"
        ]
        for name in APPS
    }
    assert probes["chat-server"]["grpc"]["port"] == chat.Config().port
    door = probes["chat-proxy"]
    assert door["httpGet"] == {"path": "/readyz", "port": "http"}
    # As long as it holds messages, it takes new clients.
    assert door["periodSeconds"] * door["failureThreshold"] > proxy.Config().hold_seconds


def test_pods_have_time_to_stop(app: str, pod: Resource, container: Resource) -> None:
    delay = 0.0
    if "lifecycle" in container:
        program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
        assert program == "sleep"
        delay = float(seconds)
    needed = {
        "chat-server": chat.Config().drain_seconds,
        "chat-proxy": 3 * proxy.Config().drain_seconds,
    }[app]
    assert pod["terminationGracePeriodSeconds"] > delay + needed + 5
    # Whoever comes by a name of several addresses goes to another one at once.
    assert (delay > 0) == (app == "chat-proxy")


def test_one_pod_at_a_time(resources: list[Resource], app: str, deployment: Resource) -> None:
    assert deployment["replicas"] >= 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = one(resources, "PodDisruptionBudget", app)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]


def test_pods_are_spread(deployment: Resource, pod: Resource) -> None:
    keys = [each["topologyKey"] for each in pod["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for each in pod["topologySpreadConstraints"]:
        assert each["labelSelector"] == deployment["selector"]


def test_memory_is_limited(container: Resource) -> None:
    assert container["resources"]["limits"].keys() == {"memory"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_selectors_match_pods(
    resources: list[Resource], app: str, deployment: Resource, container: Resource
) -> None:
    labels = deployment["template"]["metadata"]["labels"].items()
    service = one(resources, "Service", app)["spec"]
    [port] = service["ports"]
    assert service["selector"].items() <= labels
    assert port["targetPort"] in ports(container)
    policy = one(resources, "NetworkPolicy", app)["spec"]
    monitor = one(resources, "PodMonitor", app)["spec"]
    for selector in (deployment["selector"], policy["podSelector"], monitor["selector"]):
        assert selector["matchLabels"].items() <= labels


def test_proxies_see_each_server(resources: list[Resource]) -> None:
    service = one(resources, "Service", "chat-server")["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    upstream = one(resources, "ConfigMap", "chat-proxy")["data"]["PROXY_UPSTREAM"]
    assert upstream == f"chat-server:{service['ports'][0]['port']}"


def test_policies_open_named_ports_only(resources: list[Resource]) -> None:
    """Only proxies reach the servers; the metrics ports, only the monitoring."""
    opened = {
        app: {
            port["port"]: rule["from"]
            for rule in one(resources, "NetworkPolicy", app)["spec"]["ingress"]
            for port in rule["ports"]
        }
        for app in APPS
    }
    assert opened["chat-server"].keys() == {"grpc", "metrics"}
    assert opened["chat-proxy"].keys() == {"http", "metrics"}
    [caller] = opened["chat-server"]["grpc"]
    assert caller == {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "chat-proxy"}}}
    for app in APPS:
        policy = one(resources, "NetworkPolicy", app)["spec"]
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        for rule in policy["egress"]:
            assert rule["ports"]


def test_secrets_are_referred_to(resources: list[Resource]) -> None:
    assert not [each for each in resources if each["kind"] == "Secret"]
    for name in _secrets(resources):
        assert f"`{name}`" in OPERATIONS


def test_secret_files_are_where_options_look(
    resources: list[Resource], pod: Resource, container: Resource
) -> None:
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    folders = [mounts[each["name"]] for each in pod["volumes"] if "secret" in each]
    assert folders or container["name"] == "chat-proxy"
    text = "\n".join(variables(resources, container).values())
    files = re.findall(r"/run/secrets/[^/\s]+(?=/)", text)
    assert sorted(files) == sorted(folders)


def _secrets(node: Any) -> Iterator[str]:
    """The names of secrets that are mounted anywhere."""
    if isinstance(node, list):
        for each in node:
            yield from _secrets(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "secretName":
                yield value
            else:
                yield from _secrets(value)


def test_jobs_are_those_of_alerts(resources: list[Resource], app: str) -> None:
    [endpoint] = one(resources, "PodMonitor", app)["spec"]["podMetricsEndpoints"]
    [relabeling] = endpoint["relabelings"]
    alerts = (DEPLOY / "prometheus/alerts.yaml").read_text("utf-8")
    assert relabeling["targetLabel"] == "job"
    assert f'up{{job="{relabeling["replacement"]}"}}' in alerts
    assert endpoint["port"] == "metrics"


def test_ingress_exposes_what_nginx_does(resources: list[Resource]) -> None:
    ingress = one(resources, "Ingress", "chat")
    [rule] = ingress["spec"]["rules"]
    paths = rule["http"]["paths"]
    web = (DEPLOY / "nginx/snippets/chat-web.conf").read_text("utf-8")
    exposed = {("= " if each["pathType"] == "Exact" else "") + each["path"] for each in paths}
    assert exposed == set(re.findall(r"^location (.*) \{", web, re.MULTILINE))
    for path in paths:
        backend = path["backend"]["service"]
        service = one(resources, "Service", backend["name"])["spec"]
        assert backend["port"]["name"] in {port["name"] for port in service["ports"]}
    timeouts = [
        float(value.removesuffix("s"))
        for name, value in ingress["metadata"]["annotations"].items()
        if name.endswith("-timeout")
    ]
    assert len(timeouts) == 4
    assert min(timeouts) > 1.5 * proxy.Config().heartbeat_seconds


def test_page_is_of_ingress(resources: list[Resource]) -> None:
    ingress = one(resources, "Ingress", "chat")["spec"]
    [rule] = ingress["rules"]
    assert ingress["tls"][0]["hosts"] == [rule["host"]]
    data = one(resources, "ConfigMap", "chat-proxy")["data"]
    assert data["PROXY_ORIGINS"] == f"https://{rule['host']}"


def test_database_waits_for_standby(resources: list[Resource]) -> None:
    """One of two standbys: one may be away, and what was confirmed is on the other."""
    cluster = one(resources, "Cluster", "chat-db")["spec"]
    synchronous = cluster["postgresql"]["synchronous"]
    assert synchronous == {
        "method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": True,
    }  # fmt: skip
    assert cluster["instances"] == synchronous["number"] + 2
    created = cluster["bootstrap"]["initdb"]
    address = one(resources, "ConfigMap", "chat-server")["data"]["CHAT_DATABASE"]
    assert address.startswith(
        f"postgresql://{created['owner']}@chat-db-rw:5432/{created['database']}?"
    )
    [volume] = [
        each
        for each in one(resources, "Deployment", "chat-server")["spec"]["template"]["spec"][
            "volumes"
        ]
        if each["name"] == "database"
    ]
    assert volume["secret"]["secretName"] == created["secret"]["name"]
