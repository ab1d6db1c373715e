"""A Django service that verifies tokens by itself, and refuses those that were logged out."""

import os
from collections.abc import Callable

from auth_api_verifier import ThreadedVerifier, VerifierError, bearer_token
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

verifier = ThreadedVerifier(os.environ["AUTH_URL"], client_key=os.environ["VERIFIER_KEY"])


def authenticate(get_response: Callable[[HttpRequest], HttpResponse]):
    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            request.claims = verifier.verify(bearer_token(request.headers.get("Authorization")))
        except VerifierError as reason:
            refusal = {"error": reason.error}
            return JsonResponse(refusal, status=reason.status, headers=dict(reason.headers))
        return get_response(request)

    return middleware


def report(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"report": [1, 2, 3], "user_id": request.claims.sub})


# The settings, which are a module of their own in a service that is larger.
ALLOWED_HOSTS = ["127.0.0.1"]
MIDDLEWARE = ["django_service.authenticate"]
ROOT_URLCONF = "django_service"
urlpatterns = [path("report", report)]
