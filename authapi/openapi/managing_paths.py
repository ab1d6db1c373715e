"""What each endpoint takes, answers and refuses by which clients and keys are managed."""

from authapi.managing.refusals import (
    ChangedMeanwhile,
    ExceedsOwnScopes,
    IdempotencyKeyReused,
    KeyTaken,
    LastAdministrator,
    NameTaken,
    PreconditionFailed,
    StillReferenced,
    TooManyOpenKeys,
)
from authapi.openapi import managing_answers as answers
from authapi.openapi.describing import Description
from authapi.request_errors import NotFound
from authapi.web.managing_schemas import CHANGED_CLIENT, LEAK, NEW_CLIENT, NEW_KEY, ROTATION

CLIENTS, KEYS = "clients", "keys of clients"
_CLIENT, _KEY = "/admin/clients/{client_id}", "/admin/keys/{key_id}"
_PAGE = {"after": "The cursor of the page before.", "limit": "How many at most: 1 to 200."}
_ONCE = {"Idempotency-Key": "A repeat with the same one gets the same answer for a day."}
_MATCH = {"If-Match": "The ETag that the client must still have."}
_PLACE = {"Location": "Where it is from now on."}
_TAG = {"ETag": "For If-Match."}
_TOUCHES = (NotFound, ExceedsOwnScopes)

MANAGED = {
    "GET /admin/clients": Description(
        answers.ClientsAnswer,
        query=_PAGE
        | {
            "name": "Only who is called so.",
            "scope": "Only those with this scope.",
            "disabled": "true or false: only those that are, or are not.",
        },
        tag=CLIENTS,
    ),
    "POST /admin/clients": Description(
        answers.NewClientAnswer,
        status=201,
        takes=NEW_CLIENT,
        refuses=(ExceedsOwnScopes, NameTaken, KeyTaken, IdempotencyKeyReused),
        accepts=_ONCE,
        headers=_PLACE,
        tag=CLIENTS,
    ),
    f"GET {_CLIENT}": Description(
        answers.ClientAnswer, refuses=(NotFound,), headers=_TAG, tag=CLIENTS
    ),
    f"PATCH {_CLIENT}": Description(
        answers.ClientAnswer,
        takes=CHANGED_CLIENT,
        refuses=(*_TOUCHES, NameTaken, LastAdministrator, PreconditionFailed),
        accepts=_MATCH,
        headers=_TAG,
        tag=CLIENTS,
    ),
    f"DELETE {_CLIENT}": Description(
        answers.DeletedAnswer,
        refuses=(
            *_TOUCHES,
            LastAdministrator,
            StillReferenced,
            ChangedMeanwhile,
            PreconditionFailed,
        ),
        accepts=_MATCH,
        tag=CLIENTS,
    ),
    f"POST {_CLIENT}/end-sessions": Description(
        answers.SessionsEndedAnswer, refuses=_TOUCHES, tag=CLIENTS
    ),
    f"GET {_CLIENT}/keys": Description(
        answers.KeysAnswer, refuses=(NotFound,), query=_PAGE, tag=KEYS
    ),
    f"POST {_CLIENT}/keys": Description(
        answers.NewKeyAnswer,
        status=201,
        takes=NEW_KEY,
        refuses=(*_TOUCHES, TooManyOpenKeys, KeyTaken, IdempotencyKeyReused),
        accepts=_ONCE,
        headers=_PLACE,
        tag=KEYS,
    ),
    f"POST {_CLIENT}/keys/rotate": Description(
        answers.RotationAnswer,
        status=201,
        takes=ROTATION,
        refuses=(*_TOUCHES, TooManyOpenKeys, KeyTaken, LastAdministrator, IdempotencyKeyReused),
        accepts=_ONCE,
        headers=_PLACE,
        tag=KEYS,
    ),
    f"GET {_KEY}": Description(answers.KeyAnswer, refuses=(NotFound,), tag=KEYS),
    f"DELETE {_KEY}": Description(
        answers.RevokedAnswer, refuses=(*_TOUCHES, LastAdministrator), tag=KEYS
    ),
    "POST /admin/leaks": Description(answers.RevokedAnswer, takes=LEAK, tag=KEYS),
}
"""By the method and the path."""
