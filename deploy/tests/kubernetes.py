"""Checks the Kubernetes manifests: their schema, and what must hold of every pod and policy.

    kubernetes.py FOLDER [RENDERED]

FOLDER is deploy/kubernetes. RENDERED is what `kubectl kustomize` makes of the local overlay; without
it only what is written in the files is checked. Prints every finding and exits with 1 if there is any.
"""

import pathlib
import re
import sys

import kubernetes_validate
import yaml

# The oldest and the newest Kubernetes that the manifests are for.
VERSIONS = ("1.30", "1.37")
TRADING = "portcullis"
SIGNING = "portcullis-signer"
BUS = {"app.kubernetes.io/name": "nats"}
SECRET_WORDS = re.compile(r"(?i)secret|token|passw|credential|private|seed|api_?key")

findings = []


def find(where, problem):
    findings.append(f"{where}: {problem}")


def documents(path):
    for document in yaml.safe_load_all(path.read_text()):
        if document:
            yield path.name, document


def name_of(document):
    meta = document.get("metadata", {})
    return f"{document.get('kind')} {meta.get('namespace', '-')}/{meta.get('name')}"


def pod_of(document):
    if document["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
        return document["spec"]["template"]
    if document["kind"] == "CronJob":
        return document["spec"]["jobTemplate"]["spec"]["template"]
    return document if document["kind"] == "Pod" else None


def check_schema(where, document):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            find(where, f"Kubernetes {version}: {error.message}")


# --- Pods -----------------------------------------------------------------------------------------


def check_pod(where, document, pod):
    spec = pod["spec"]
    security = spec.get("securityContext", {})
    wanted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for key, value in wanted.items():
        if security.get(key) != value:
            find(where, f"securityContext.{key} must be {value}")
    if security.get("runAsUser", 0) < 10_000 or security.get("runAsGroup", 0) < 10_000:
        find(where, "user and group must be those of no account of the node")
    for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(key):
            find(where, f"{key} breaks the wall to others")
    if spec.get("automountServiceAccountToken") is not False:
        find(where, "it has a token of the cluster")
    if spec.get("enableServiceLinks") is not False:
        find(where, "its environment lists the cluster's services")
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= {"secret", "emptyDir", "projected", "persistentVolumeClaim"}:
            find(where, f"volume {volume['name']} is of a kind that is not allowed: {kinds}")
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            find(where, f"volume {volume['name']} has no bound")
        check_projection(where, volume)
    check_identity(where, spec)
    check_bus_log(where, document["metadata"]["name"], spec)
    for container in spec["containers"] + spec.get("initContainers", []):
        check_container(f"{where} {container['name']}", container)
    if document["kind"] in ("Deployment", "StatefulSet"):
        if document["spec"].get("replicas") != 1:
            find(where, "one identity must be in one pod")
        if document["kind"] == "Deployment" and document["spec"].get("strategy") != {
            "type": "Recreate"
        }:
            find(where, "two would run during an update: strategy must be Recreate")


def check_identity(where, spec):
    """A bundle and the key that opens it come from two Secrets, and only their copies are used."""
    mounted = {v["name"]: v["secret"]["secretName"] for v in spec.get("volumes", []) if "secret" in v}
    secrets = {name for name in mounted.values() if name.startswith("identity-")}
    bundles = {name for name in secrets if not name.startswith("identity-key-")}
    keys = {name.replace("identity-", "identity-key-", 1) for name in bundles}
    if len(bundles) > 1:
        find(where, f"it has the identities of several: {sorted(bundles)}")
    if secrets - bundles != keys:
        find(where, "the key of its bundle is not a Secret of its own")
    if not bundles:
        return
    for container in spec["containers"]:
        for mount in container.get("volumeMounts", []):
            if mounted.get(mount["name"]) in secrets:
                find(where, f"{container['name']} reads a mounted Secret, which is open to a group")
        by_path = {v["name"] for v in container.get("env", [])} & {"PORTCULLIS_IDENTITY_KEY"}
        if "--identity" in container["args"] and "--identity-key" not in container["args"] and not by_path:
            find(where, f"{container['name']} is not told where the key of its bundle is")


def check_bus_log(where, name, spec):
    """What the bus denies stands in its log alone: the bus writes it, and audit reads it."""
    claims = {
        v["name"]
        for v in spec.get("volumes", [])
        if v.get("persistentVolumeClaim", {}).get("claimName") == "bus-log"
    }
    for container in spec["containers"] + spec.get("initContainers", []):
        for mount in container.get("volumeMounts", []):
            may = name == "nats" or (name == "audit" and mount.get("readOnly"))
            if mount["name"] in claims and not may:
                find(where, "bus-log is the bus's to write and audit's to read")


def check_projection(where, volume):
    """A ConfigMap is readable by whoever may list ConfigMaps."""
    for source in volume.get("projected", {}).get("sources", []):
        if set(source) != {"configMap"}:
            find(where, f"volume {volume['name']} projects something that is no ConfigMap")


def check_container(where, container):
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        find(where, "it may gain privileges")
    if security.get("readOnlyRootFilesystem") is not True:
        find(where, "its file system is writable")
    if security.get("capabilities") != {"drop": ["ALL"]}:
        find(where, "it has capabilities")
    if security.get("privileged"):
        find(where, "it is privileged")
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        for what in ("cpu", "memory"):
            if what not in resources.get(kind, {}):
                find(where, f"resources.{kind}.{what} is missing")
    for variable in container.get("env", []):
        value = variable.get("valueFrom", {})
        if "secretKeyRef" in value or SECRET_WORDS.search(variable["name"]):
            find(where, f"{variable['name']} is a secret in the environment")
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            find(where, "its environment is filled from a Secret")
    if any("hostPort" in port for port in container.get("ports", [])):
        find(where, "it has a port of the node")


# --- Network --------------------------------------------------------------------------------------


def matches(selector, labels):
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] != "In":
            raise ValueError(f"operator {expression['operator']} is not known here")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def peers(policy, direction):
    """Who may be reached, or may reach: (namespace, selector of pods, protocol, port)."""
    namespace = policy["metadata"]["namespace"]
    for rule in policy["spec"].get(direction, []):
        ends = rule.get("to" if direction == "egress" else "from")
        if not ends or not rule.get("ports"):
            find(name_of(policy), f"{direction} without peers or ports allows everything")
            continue
        for end in ends:
            if "ipBlock" in end or "podSelector" not in end or not end["podSelector"]:
                find(name_of(policy), f"{direction} must name pods: {end}")
                continue
            chosen = end.get("namespaceSelector", {}).get("matchLabels", {})
            where = chosen.get("kubernetes.io/metadata.name", namespace)
            for port in rule["ports"]:
                yield where, end["podSelector"], port["protocol"], port["port"]


def allowed(name, has_exchange):
    """Where the pods of this name may connect to, and nowhere else."""
    dns = {("kube-dns", "UDP", 53), ("kube-dns", "TCP", 53)}
    if name in ("nats", "paper-exchange") or name.startswith("arm-"):
        return set()
    to = dns | {("nats", "TCP", 4222)}
    if has_exchange and name in ("execution", "market-data"):
        to.add(("paper-exchange", "TCP", 8090))
    return to


def check_network(where, everything):
    policies = [d for d in everything if d["kind"] == "NetworkPolicy"]
    pods = [
        (d["metadata"]["namespace"], pod_of(d)["metadata"]["labels"], d)
        for d in everything
        if pod_of(d)
    ]
    names = {labels["app.kubernetes.io/name"] for _, labels, _ in pods}
    has_exchange = "paper-exchange" in names
    for namespace, labels, document in pods:
        mine = [
            p
            for p in policies
            if p["metadata"]["namespace"] == namespace and matches(p["spec"]["podSelector"], labels)
        ]
        closed = [
            p
            for p in mine
            if not p["spec"]["podSelector"]
            and set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"}
            and "ingress" not in p["spec"]
            and "egress" not in p["spec"]
        ]
        if not closed:
            find(f"{where} {name_of(document)}", "nothing denies what is not allowed")
        name = labels["app.kubernetes.io/name"]
        out = set()
        for policy in mine:
            for _, selector, protocol, port in peers(policy, "egress"):
                to = selector["matchLabels"]
                to = to.get("app.kubernetes.io/name") or to.get("k8s-app")
                out.add((to, protocol, port))
        if out != allowed(name, has_exchange):
            find(f"{where} {name_of(document)}", f"may connect to {sorted(out)}")
        reached = {
            other["app.kubernetes.io/name"]
            for policy in mine
            for there, selector, _, _ in peers(policy, "ingress")
            for space, other, _ in pods
            if space == there and matches(selector, other)
        }
        clients = {n for n in names if ("nats", "TCP", 4222) in allowed(n, has_exchange)}
        wanted = {"nats": clients, "paper-exchange": {"execution", "market-data"}}.get(name, set())
        if reached != wanted:
            find(f"{where} {name_of(document)}", f"is reached by {sorted(reached)}")
    for policy in policies:
        if policy["metadata"]["namespace"] == SIGNING and "ingress" in policy["spec"]:
            find(name_of(policy), "somebody may reach the signer")


# --- Everything -----------------------------------------------------------------------------------


def check_whole(where, everything):
    """What must hold of all documents together."""
    for document in everything:
        kind = document["kind"]
        if kind == "Secret":
            find(f"{where} {name_of(document)}", "a secret in a manifest")
        if kind in ("Ingress", "ClusterRole", "Role", "RoleBinding", "ClusterRoleBinding"):
            find(f"{where} {name_of(document)}", "nothing here needs one")
        if kind == "Service" and document["spec"].get("type", "ClusterIP") not in (
            "ClusterIP",
            "ExternalName",
        ):
            find(f"{where} {name_of(document)}", "it is open to the outside")
        if kind == "Namespace":
            labels = document["metadata"]["labels"]
            if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
                find(f"{where} {name_of(document)}", "it admits pods that are not restricted")
        if kind == "PodDisruptionBudget" and "minAvailable" in document["spec"]:
            find(f"{where} {name_of(document)}", "minAvailable of one pod blocks every drain")
        pod = pod_of(document)
        if pod:
            check_pod(f"{where} {name_of(document)}", document, pod)
            is_signer = "signer" in document["metadata"]["name"]
            if is_signer != (document["metadata"]["namespace"] == SIGNING):
                find(f"{where} {name_of(document)}", "the signer, and only it, has its own namespace")
    check_network(where, everything)


def main():
    folder = pathlib.Path(sys.argv[1])
    files = sorted(folder.rglob("*.yaml"))
    read = {}
    for path in files:
        if path.name == "kustomization.yaml":
            continue
        read[path] = [document for _, document in documents(path)]
        for document in read[path]:
            check_schema(f"{path.relative_to(folder)} {name_of(document)}", document)

    def part(*names):
        return [d for path in read for d in read[path] if path.parent.relative_to(folder).as_posix() in names]

    base = part("storage", "base")
    if len([d for d in base if pod_of(d)]) < 8:
        find("base", "services are missing")
    check_whole("base", base)
    if "paper-exchange" in " ".join(name_of(d) for d in base):
        find("base", "the paper exchange must not be reachable in production")
    check_whole("first-start", part("storage", "first-start"))
    check_whole("local", base + part("overlays/local"))
    count = sum(len(found) for found in read.values())
    if len(sys.argv) > 2:
        rendered = [d for _, d in documents(pathlib.Path(sys.argv[2]))]
        for document in rendered:
            check_schema(f"rendered {name_of(document)}", document)
        check_whole("rendered", rendered)
        for document in rendered:
            pod = pod_of(document)
            for container in (pod or {"spec": {"containers": []}})["spec"]["containers"]:
                if ":" not in container["image"] and "@" not in container["image"]:
                    find(f"rendered {name_of(document)}", f"image {container['image']} has no version")
        count += len(rendered)
    for finding in findings:
        print(finding)
    print(f"{count} documents, {len(findings)} findings")
    return 1 if findings or not count else 0


if __name__ == "__main__":
    sys.exit(main())
