"""Refusals of a request for its form alone: nobody is judged yet."""

from collections.abc import Mapping

from authapi.errors import Refusal


class NotFound(Refusal):
    """No route has this path."""

    status = 404
    error = "not_found"
    description = "There is nothing at this path."


class MethodNotAllowed(Refusal):
    """The path exists, the method does not; the answer carries `Allow`."""

    status = 405
    error = "method_not_allowed"
    description = "This path does not take this method; see the Allow header."


class ContentTooLarge(Refusal):
    """The body is over the limit."""

    status = 413
    error = "content_too_large"
    description = "The body is larger than 16 KiB."


class RequestTimeout(Refusal):
    """The request did not arrive in time."""

    status = 408
    error = "request_timeout"
    description = "The request took too long to arrive."


class HeadTooLarge(Refusal):
    """The request line and the headers are over the limit (RFC 6585, 5)."""

    status = 431
    error = "head_too_large"
    description = "The request line and the headers are larger than 16 KiB."


class UnsupportedMediaType(Refusal):
    """The body is in none of the three media types, or compressed (RFC 9110, 15.5.16)."""

    status = 415
    error = "unsupported_media_type"
    description = "Send application/json, application/x-www-form-urlencoded or multipart/form-data."
    headers: Mapping[str, str] = {"Accept-Encoding": "identity"}


class JSONWanted(UnsupportedMediaType):
    """The body is in another media type than the one that this path takes."""

    description = "Send application/json."
