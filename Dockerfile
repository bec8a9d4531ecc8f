# One image with every program of Portcullis and nothing else: no shell, no package manager, no
# library. The command selects the program.
#
#   docker compose build                               compiled in a container (needs a registry)
#   scripts/image && \
#     docker compose build --build-arg BINARIES=prebuilt   compiled on this machine
#
# No frontend is named at the top: naming one would fetch it.
ARG BINARIES=built

# Compiled here, from the sources alone.
FROM rust:1.95-bookworm AS built
WORKDIR /src
COPY . .
RUN ./scripts/image --release

# Compiled on this machine by `scripts/image`.
FROM scratch AS prebuilt
COPY target/image /src/target/image

FROM ${BINARIES} AS chosen

FROM scratch
COPY --from=chosen /src/target/image/bin/ /usr/local/bin/
# The places of the volumes. A new volume takes its owner from here, so that no container has to run
# as root to give it away.
COPY --from=chosen --chown=65532:65532 /src/target/image/volumes/ /portcullis/
USER 65532:65532
WORKDIR /portcullis
ENV PATH=/usr/local/bin
CMD ["portcullis", "--help"]
