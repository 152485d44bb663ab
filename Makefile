# What people run. Needs a Rust toolchain; `make test` also redis-server and promtool, which it installs if it can.

BIN := $${CARGO_TARGET_DIR:-target}/debug
BROWSER := proxy/tests/browser
NPM := --no-package-lock --no-audit --no-fund --ignore-scripts
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: demo test otel consistency soak fleet bench slow conformance browser screenshot package package-check lint audit redis-server promtool chromium

# The demo shop behind the proxy: in memory, or in Redis when REDIS_URL is set. Ctrl-C ends both.
demo:
	cargo build --locked
	@printf '%s\n' '' 'In a second shell, each twice:' \
		'  curl -sD- -o /dev/null localhost:8080/cached_products   first fwd=uri-miss; stored, then hit with an Age' \
		'  curl -sD- -o /dev/null localhost:8080/products          never stored: detail=rule-off' \
		'Then edit config.yaml and save it: the change acts at once. Ctrl-C ends the demo.' ''
	@exec $(BIN)/sidecache --ready /healthz -- $(BIN)/origin

# Every test. The runner's own summary comes last.
test: redis-server promtool
	cargo test --locked --workspace --doc
	if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --locked --workspace; \
		else cargo test --locked --workspace --lib --bins --tests; fi

# The export of spans, which no other build has.
otel:
	cargo clippy --locked -p sidecache --features otel --lib --bins --test otel -- -D warnings
	cargo test --locked -p sidecache --features otel --lib telemetry::otel
	cargo test --locked -p sidecache --features otel --test otel

# Three sidecars, writers that purge, and faults: fails if a read returns what was purged. Minutes;
# SIDECACHE_SEED repeats a run.
consistency: redis-server
	SIDECACHE_SCALE=full cargo test --locked -p sidecache --test fleet -- --nocapture consistency::
	cargo test --locked -p sidecache --features sabotage --test fleet -- --nocapture --test-threads=1 without_a_guard

# Twenty minutes of load and faults: fails if a client sees an error, or anything grows or stays in Redis.
soak: redis-server
	SIDECACHE_SCALE=full cargo test --locked --profile measure -p sidecache --test soak -- --nocapture

# Three sidecars: one fetch for an expiry, how soon a purge is seen, and what it costs. Minutes.
fleet: redis-server
	SIDECACHE_SCALE=full cargo test --locked --profile measure -p sidecache --test fleet -- --nocapture --test-threads=1 \
		single_fetch:: purge_times::

# Side by side with the app alone, nginx and HAProxy; writes bench/RESULTS.md.
bench:
	bench/run

# 2,000 slow clients of each kind (slowhttptest) beside one that behaves: fails if that one notices. Minutes.
slow:
	bench/slow

# The public test suite for HTTP caches; fails when a score drops below conformance/recorded.json.
conformance: redis-server
	conformance/run

# The dashboard in a real browser (Debian's chromium), with axe-core. Needs Node.js 20 and npm.
browser: redis-server promtool chromium
	cargo build --locked
	cd $(BROWSER) && npm install $(NPM) && node --test --test-concurrency=1

# Writes docs/dashboard.png and docs/dashboard-dark.png. Minutes.
screenshot: redis-server chromium
	cargo build --locked
	cd $(BROWSER) && npm install $(NPM) && node screenshot.js

# A Debian package of this machine's kind; needs cargo-deb.
package:
	packaging/build

# The unit, the manifests, the manual and the package against what they are for. Names what cannot be checked here.
package-check:
	cargo build --locked -p sidecache
	packaging/check

lint:
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cp Cargo.lock fuzz/Cargo.lock
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir "$${CARGO_TARGET_DIR:-target}" --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# Licenses, sources and unwanted crates (deny.toml).
audit:
	@cargo deny --version || { echo 'cargo-deny is missing: cargo install --locked cargo-deny' >&2; exit 1; }
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

promtool:
	@command -v promtool >/dev/null || { command -v apt-get >/dev/null && $(SUDO) apt-get update -qq && \
		$(SUDO) apt-get install -y -qq --no-install-recommends prometheus && \
		{ $(SUDO) systemctl disable --now prometheus || true; } >/dev/null 2>&1; } || \
		{ echo 'A test has promtool look at the metrics, and found none: install Prometheus.' >&2; exit 1; }

redis-server:
	@command -v redis-server >/dev/null || { command -v apt-get >/dev/null && \
		$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq redis-server; } || \
		{ echo 'The tests start a redis-server of their own and found none: install Redis 7.' >&2; exit 1; }

chromium:
	@command -v chromium >/dev/null || { command -v apt-get >/dev/null && \
		$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq chromium; } || \
		{ echo 'The dashboard is tried in chromium, and there is none: install it.' >&2; exit 1; }
