package ferritehttp_test

import (
	"io"
	"strings"
	"testing"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/ferritehttp"
	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/ferritetest"
)

func TestRequestsGoThroughTheHost(t *testing.T) {
	store := ferritetest.New(t)
	store.Respond("POST", "https://example.com/a?b=c", 201, "made")
	response, err := ferritehttp.Client().Post("https://example.com/a?b=c", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 201 || string(body) != "made" {
		t.Error(response.StatusCode, string(body), err)
	}
	if len(store.Requests) != 1 || store.Requests[0].Body != "body" {
		t.Error(store.Requests)
	}
	if _, err := ferritehttp.Client().Get("https://example.com/none"); err == nil || !strings.Contains(err.Error(), "CONNECT ") {
		t.Error(err)
	}
}
