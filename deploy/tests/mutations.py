"""Breaks the manifests one rule at a time, and makes sure that the checks beside this file see it.

    mutations.py DOCKER_COMPOSE_YML DEPLOY_KUBERNETES
"""

import copy
import pathlib
import sys

import yaml

import compose
import kubernetes


def service(name, **changes):
    return lambda stack: stack["services"][name].update(changes)


COMPOSE = [
    ("signer: read_only must be", service("signer", read_only=False)),
    ("brain: user must be", service("brain", user="0:0")),
    ("nats: cap_drop must be", service("nats", cap_drop=[])),
    ("paper-exchange: ports breaks", service("paper-exchange", ports=["8090:8090"])),
    ("audit: mem_limit is missing", service("audit", mem_limit=None)),
    ("brain: API_KEY is a secret", service("brain", environment={"API_KEY": "x"})),
    ("network venue: is of", service("brain", networks=["decision", "venue"])),
    ("network venue: it leads out", lambda stack: stack["networks"].update(venue={})),
    (
        "execution: identity-signer is somebody else's",
        service("execution", volumes=["identity-signer:/portcullis/identity/signer:ro"]),
    ),
    (
        "signer: identity-signer is writable",
        service("signer", volumes=["identity-signer:/portcullis/identity/signer"]),
    ),
    ("signer: the authority's keys", service("signer", volumes=["authority:/authority:ro"])),
    ("audit: /etc is of the host", service("audit", volumes=["/etc:/etc"])),
    ("bus-log is the bus's to write", service("audit", volumes=["bus-log:/portcullis/bus-log"])),
    ("bus-log is the bus's to write", service("brain", volumes=["bus-log:/portcullis/bus-log:ro"])),
    ("exchange's admin port", service("paper-exchange", command=["paper-exchange", "--admin", "x"])),
    ("init: it needs no network", service("init", network_mode="bridge")),
    ("brain: nobody asks", service("brain", healthcheck=None)),
]


def of(kind, name):
    def pick(documents):
        for document in documents:
            if document["kind"] == kind and document["metadata"]["name"] == name:
                yield document

    return pick


def reach(spec, claim):
    """Mounts a claim, to read only."""
    spec["volumes"].append({"name": "x", "persistentVolumeClaim": {"claimName": claim}})
    mount = {"name": "x", "mountPath": "/x", "readOnly": True}
    spec["containers"][0]["volumeMounts"].append(mount)


def pod(name, change):
    def mutate(documents):
        for kind in ("StatefulSet", "Deployment"):
            for document in of(kind, name)(documents):
                change(document["spec"]["template"]["spec"])

    return mutate


def container(name, **changes):
    return pod(name, lambda spec: spec["containers"][0].update(changes))


def volume(spec, name):
    return next(found for found in spec["volumes"] if found["name"] == name)


def drop(kind, name):
    def mutate(documents):
        documents[:] = [d for d in documents if d not in list(of(kind, name)(documents))]

    return mutate


def spec(kind, name, change):
    def mutate(documents):
        for document in of(kind, name)(documents):
            change(document["spec"])

    return mutate


KUBERNETES = [
    ("its file system is writable", container("audit", securityContext={})),
    ("runAsNonRoot must be", pod("brain", lambda s: s["securityContext"].pop("runAsNonRoot"))),
    ("hostNetwork breaks", pod("brain", lambda s: s.update(hostNetwork=True))),
    ("a token of the cluster", pod("nats", lambda s: s.pop("automountServiceAccountToken"))),
    ("limits.memory is missing", container("signer", resources={"requests": {}})),
    ("is a secret in the environment", container("brain", env=[{"name": "VENUE_SECRET"}])),
    ("strategy must be Recreate", spec("Deployment", "market-data", lambda s: s.pop("strategy"))),
    ("one identity must be", spec("StatefulSet", "execution", lambda s: s.update(replicas=2))),
    ("nothing denies", drop("NetworkPolicy", "default-deny")),
    ("may connect to", drop("NetworkPolicy", "dns")),
    (
        "is reached by",
        spec("NetworkPolicy", "bus-from-clients", lambda s: s["ingress"][0]["from"].pop()),
    ),
    (
        "must name pods",
        spec(
            "NetworkPolicy",
            "clients-to-bus",
            lambda s: s["egress"][0].update(to=[{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        ),
    ),
    (
        "blocks every drain",
        spec("PodDisruptionBudget", "signer", lambda s: s.update(minAvailable=1)),
    ),
    ("a secret in a manifest", lambda documents: documents.append(SECRET)),
    ("open to the outside", spec("Service", "nats", lambda s: s.update(type="NodePort"))),
    (
        "is not a Secret of its own",
        pod("signer", lambda s: s["volumes"].remove(volume(s, "bundle-key"))),
    ),
    (
        "has the identities of several",
        pod(
            "brain",
            lambda s: s["volumes"].append({"name": "x", "secret": {"secretName": "identity-signer"}}),
        ),
    ),
    (
        "is not told where the key",
        pod("audit", lambda s: s["containers"][0]["args"].remove("--identity-key")),
    ),
    (
        "reads a mounted Secret",
        pod(
            "brain",
            lambda s: s["containers"][0]["volumeMounts"].append({"name": "bundle", "mountPath": "/x"}),
        ),
    ),
    (
        "is of a kind that is not allowed",
        pod("brain", lambda s: s["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ),
    (
        "bus-log is the bus's to write",
        pod("audit", lambda s: [mount.pop("readOnly", None) for mount in s["containers"][0]["volumeMounts"]]),
    ),
    (
        "bus-log is the bus's to write",
        pod("brain", lambda s: reach(s, "bus-log")),
    ),
]
SECRET = {"kind": "Secret", "metadata": {"name": "s", "namespace": "portcullis"}}


def main():
    stack = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
    missed = []
    for expected, mutate in COMPOSE:
        broken = copy.deepcopy(stack)
        mutate(broken)
        if not any(expected in finding for finding in compose.check(broken)):
            missed.append(f"compose: {expected}")
    folder = pathlib.Path(sys.argv[2])
    documents = [
        document
        for part in ("storage", "base")
        for path in sorted((folder / part).glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for _, document in kubernetes.documents(path)
    ]
    for expected, mutate in KUBERNETES:
        broken = copy.deepcopy(documents)
        mutate(broken)
        kubernetes.findings.clear()
        kubernetes.check_whole("broken", broken)
        if not any(expected in finding for finding in kubernetes.findings):
            missed.append(f"kubernetes: {expected}")
    kubernetes.findings.clear()
    kubernetes.check_schema(
        "broken", {"apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": {"replicaz": 1}}
    )
    if not kubernetes.findings:
        missed.append("kubernetes: an unknown key")
    for miss in missed:
        print(f"not seen: {miss}")
    print(f"{len(COMPOSE) + len(KUBERNETES) + 1} rules broken, {len(missed)} not seen")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
