module github.com/ferrite-wasm/ferrite-wasm/sdk/go

go 1.24
