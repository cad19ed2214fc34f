package ferrite

import (
	"strconv"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/internal/abi"
)

// Request is a request to another server. The function's permissions must list it in allow_network.
//
// Package ferritehttp has a transport for net/http, which makes a module some megabytes larger.
type Request struct {
	// Method is GET if it is empty.
	Method string
	URL    string
	// Headers are pairs of name and value.
	Headers [][2]string
	Body    []byte
	// TimeoutMillis limits the duration; the server's own limit stays in force. 0 sets none.
	TimeoutMillis int
	// NoRedirects makes redirections responses like others.
	NoRedirects bool
}

// Response is the response of another server.
type Response struct {
	Status int
	// URL is the URL that answered, which redirections may have changed.
	URL string
	// Headers are pairs of name, in lower case, and value.
	Headers [][2]string
	Body    []byte
}

// Header returns the first value of a header, whose name is given in lower case; empty if there is none.
func (r Response) Header(name string) string {
	for _, header := range r.Headers {
		if header[0] == name {
			return header[1]
		}
	}
	return ""
}

// Fetch makes a request and waits for the response, whatever its status is. An error says why there is
// no response: its code is NOPERM, INVALID, LIMIT, ADDRESS, DNS, CONNECT, TLS, TIMEOUT, REDIRECT,
// PROTOCOL or UNAVAILABLE.
func Fetch(request Request) (Response, error) {
	url := utf8Bytes(request.URL)
	list := request.encode()
	bytes, status := abi.Result(func(buf []byte) int32 { return abi.Current.HTTP(list, buf) })
	if status < 0 {
		return Response{}, failed(int64(status), "http", url)
	}
	value, rest, ok := decode(bytes, 0)
	if ok && value.Kind == KindError {
		return Response{}, newError(value.text)
	}
	if !ok || len(rest) > 0 || len(value.Items) < 3 {
		return Response{}, newError("ERR the response of ", request.URL, " is malformed")
	}
	response := Response{
		Status: int(value.Items[0].number),
		URL:    value.Items[1].text,
		Body:   []byte(value.Items[2].text),
	}
	for i := 3; i+1 < len(value.Items); i += 2 {
		response.Headers = append(response.Headers, [2]string{value.Items[i].text, value.Items[i+1].text})
	}
	return response, nil
}

// AfterCommit makes a request a part of what the call commits, and returns its idempotency key.
//
// If the call commits, the host sends the request afterwards, and again until the server accepts it by a
// status from 200 to 299. It may arrive more than once, each time with the same header idempotency-key:
// the one that the request has, or a random one. Nothing is sent for a call that fails. The code of an
// error is NOPERM, INVALID, LIMIT or UNAVAILABLE.
func AfterCommit(request Request) (string, error) {
	list := request.encode()
	bytes, status := abi.Result(func(buf []byte) int32 { return abi.Current.AfterCommit(list, buf) })
	if status < 0 {
		return "", failed(int64(status), "after_commit", utf8Bytes(request.URL))
	}
	value, rest, ok := decode(bytes, 0)
	if ok && value.Kind == KindError {
		return "", newError(value.text)
	}
	if !ok || len(rest) > 0 {
		return "", newError("ERR the reply to ", request.URL, " is malformed")
	}
	return value.text, nil
}

// encode writes the request as the host reads it.
func (r Request) encode() []byte {
	method := r.Method
	if method == "" {
		method = "GET"
	}
	words := [][]byte{utf8Bytes(method), utf8Bytes(r.URL), r.Body}
	for _, header := range r.Headers {
		words = append(words, utf8Bytes(header[0]), utf8Bytes(header[1]))
	}
	if r.TimeoutMillis > 0 {
		words = append(words, []byte(":timeout"), strconv.AppendInt(nil, int64(r.TimeoutMillis), 10))
	}
	if r.NoRedirects {
		words = append(words, []byte(":redirects"), []byte{'0'})
	}
	return encodeList(words)
}
