//! Sends replies, which the runtime writes as RESP, through the server's reply functions.

#![allow(unsafe_code, reason = "calls the server's functions for replies")]

use std::ffi::{CString, c_int, c_long};

use crate::api::context::Context;
use crate::api::ffi::api;
use crate::api::string::c_chars;
use ferrite_protocol::resp::tree::{Token, Tokens};

impl Context<'_> {
    /// Sends one whole reply to the client.
    pub(crate) fn reply(self, bytes: &[u8]) {
        for token in Tokens::new(bytes) {
            self.reply_token(token);
        }
    }

    fn reply_token(self, token: Token<'_>) {
        let (api, ctx) = (api(), self.raw());
        let len = |len: usize| c_long::try_from(len).unwrap_or(c_long::MAX);
        // SAFETY: a live context in every call; texts are C strings or come with their length, and
        // the server copies them.
        let _: c_int = unsafe {
            match token {
                Token::Int(value) => (api.reply_with_long_long)(ctx, value),
                Token::Bulk(bytes) => {
                    let (start, len) = c_chars(bytes);
                    (api.reply_with_string_buffer)(ctx, start, len)
                }
                Token::Simple(text) => {
                    let text = line(text);
                    (api.reply_with_simple_string)(ctx, text.as_ptr())
                }
                Token::Error(text) => {
                    let text = line(text);
                    (api.reply_with_error)(ctx, text.as_ptr())
                }
                Token::Null => (api.reply_with_null)(ctx),
                Token::NullArray => (api.reply_with_null_array)(ctx),
                Token::Array(count) | Token::Push(count) => (api.reply_with_array)(ctx, len(count)),
                Token::Map(pairs) => (api.reply_with_map)(ctx, len(pairs)),
                Token::Set(count) => (api.reply_with_set)(ctx, len(count)),
                // Such tokens are not read.
                Token::Attribute(_) => 0,
                Token::Bool(value) => (api.reply_with_bool)(ctx, c_int::from(value)),
                Token::Double(value) => (api.reply_with_double)(ctx, value),
                Token::BigNumber(digits) => {
                    let (start, len) = c_chars(digits);
                    (api.reply_with_big_number)(ctx, start, len)
                }
                Token::Verbatim(format, text) => {
                    let (start, len) = c_chars(text);
                    let format = [format[0], format[1], format[2], 0];
                    (api.reply_with_verbatim)(ctx, start, len, format.as_ptr().cast())
                }
            }
        };
    }
}

/// Returns a line of text as a C string, up to its first zero byte.
fn line(text: &[u8]) -> CString {
    let end = text.iter().position(|&byte| byte == 0);
    // Without a zero byte this cannot fail.
    CString::new(&text[..end.unwrap_or(text.len())]).unwrap_or_default()
}
