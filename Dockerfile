# syntax=docker/dockerfile:1
# One Rust in all stages: another one makes the dependencies' layer useless. This image has gcc, g++, make and perl,
# which librdkafka and OpenSSL are built with.
FROM rust:1.95-bookworm AS chef
# renovate: datasource=crate depName=cargo-chef
ARG CARGO_CHEF_VERSION=0.1.78
RUN cargo install --locked cargo-chef@${CARGO_CHEF_VERSION}
WORKDIR /src

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
# Dependencies, in a layer that only a change of Cargo.toml or Cargo.lock renews.
COPY --from=planner /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
# Shown by /status: --build-arg COMMIT=$(git rev-parse HEAD)
ARG COMMIT=unknown
RUN MIRRORKEEPER_COMMIT=${COMMIT} cargo build --release --locked --bin mirrorkeeper

# C and C++ libraries, CA certificates, no shell; the same Debian as the builder's.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="mirrorkeeper" \
      org.opencontainers.image.description="Keeps Kafka mirrors the way a Git repository of MirrorMaker 2 connector files says" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=builder /src/target/release/mirrorkeeper /usr/local/bin/mirrorkeeper
# The OpenSSL inside is our own build and does not know where Debian keeps its certificates.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# A number: Kubernetes checks runAsNonRoot by it.
USER 65532:65532
EXPOSE 8083
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/usr/local/bin/mirrorkeeper", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mirrorkeeper"]
CMD ["run"]
