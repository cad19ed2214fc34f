module go_http

go 1.24

require github.com/ferrite-wasm/ferrite-wasm/sdk/go v0.0.0

replace github.com/ferrite-wasm/ferrite-wasm/sdk/go => ../../../sdk/go
