# syntax=docker/dockerfile:1

# The version of rust-toolchain.toml; Debian 12 as in the final image, for the same C library.
FROM rust:1.95.0-slim-bookworm AS build
# npm fetches GraphiQL, which becomes part of the binary.
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# Caches keep dependencies between builds, and with them the binary: it is copied to where it stays.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --no-default-features && cp target/release/todo-api /todo-api

# The C library and the certificates of the web; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /todo-api /usr/local/bin/todo-api
USER nonroot
ENV APP_ENV=production HOST=0.0.0.0 LOG_FORMAT=json
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/usr/local/bin/todo-api", "health"]
ENTRYPOINT ["/usr/local/bin/todo-api"]
