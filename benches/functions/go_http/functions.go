// Functions that make requests by net/http, the largest package of Go's library that they are likely to import.
package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"

	ferrite "github.com/ferrite-wasm/ferrite-wasm/sdk/go"
	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/ferritehttp"
)

//go:wasmexport ask
func askEntry() {
	ferrite.Serve1("ask", func(url string) (any, error) {
		response, err := ferritehttp.Client().Post(url, "text/plain", strings.NewReader("body"))
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		return []any{response.StatusCode, string(body), response.Header.Get("Content-Length")}, nil
	}, "url")
}

//go:wasmexport parse
func parseEntry() {
	ferrite.Serve1("parse", func(text string) (any, error) {
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return nil, err
		}
		return []any{request.Method, request.URL.Path, request.Header.Get("x-one"), http.StatusText(http.StatusTeapot)}, nil
	}, "text")
}

func main() {}
