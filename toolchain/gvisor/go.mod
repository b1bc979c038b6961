module hybrid.platform/toolchain/gvisor

go 1.26.3

require gvisor.dev/gvisor v0.0.0-20260905035102-160fafc42237

// Its answer decides whether the shim forgives a refusal to lower its oom score; see userns/userns.go.
replace github.com/moby/sys/userns => ./userns
