// Package ferritehttp lets net/http make its requests through the host.
//
//	client := ferritehttp.Client()
//	response, err := client.Get("https://api.example.com/v1/rates")
//
// The host unpacks responses and keeps connections; the function's permissions
// must list each request in allow_network. A client's Timeout has no effect, because time stands still
// during a call: use Transport.TimeoutMillis instead.
package ferritehttp

import (
	"bytes"
	"io"
	"net/http"

	ferrite "github.com/ferrite-wasm/ferrite-wasm/sdk/go"
)

// Transport makes the requests of net/http through the host. The zero value is ready for use.
type Transport struct {
	// TimeoutMillis limits the duration of each request; 0 sets no limit beside the server's.
	TimeoutMillis int
}

// Client returns a client of net/http with this transport.
func Client() *http.Client {
	return &http.Client{Transport: Transport{}}
}

// RoundTrip makes a request.
func (t Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		read, err := io.ReadAll(request.Body)
		request.Body.Close()
		if err != nil {
			return nil, err
		}
		body = read
	}
	asked := ferrite.Request{
		Method:        request.Method,
		URL:           request.URL.String(),
		Body:          body,
		TimeoutMillis: t.TimeoutMillis,
		// net/http follows them itself, by the rules that its user has set.
		NoRedirects: true,
	}
	for name, values := range request.Header {
		for _, value := range values {
			asked.Headers = append(asked.Headers, [2]string{name, value})
		}
	}
	answer, err := ferrite.Fetch(asked)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for _, pair := range answer.Headers {
		header.Add(pair[0], pair[1])
	}
	return &http.Response{
		Status:        http.StatusText(answer.Status),
		StatusCode:    answer.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          io.NopCloser(bytes.NewReader(answer.Body)),
		ContentLength: int64(len(answer.Body)),
		Request:       request,
	}, nil
}
