from hashlib import sha256

from django.urls import path
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import CharField, Serializer
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.serializers import TokenRefreshSerializer
from rest_framework_simplejwt.settings import api_settings

from .models import Client
from .tokens import PairedRefreshToken, RevocableAccessToken


class LoginSerializer(Serializer):
    client_key = CharField()


class RefreshSerializer(TokenRefreshSerializer):
    token_class = PairedRefreshToken


class Public(APIView):
    permission_classes = [AllowAny]
    authentication_classes: list[type] = []

    def get_authenticate_header(self, request: Request) -> str:
        """Without one, a refusal would be a 403."""
        return "Bearer"


def answer_pair(access: str, refresh: str, user_id: str) -> Response:
    return Response(
        {
            "access_token": access,
            "refresh_token": refresh,
            "user_id": user_id,
            "token_type": "Bearer",
            "expires_in": int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
            "refresh_expires_in": int(api_settings.REFRESH_TOKEN_LIFETIME.total_seconds()),
        }
    )


class Login(Public):
    def post(self, request: Request) -> Response:
        payload = LoginSerializer(data=request.data)
        payload.is_valid(raise_exception=True)
        digest = sha256(payload.validated_data["client_key"].encode()).hexdigest()
        client = Client.objects.filter(digest=digest).first()
        if client is None:
            raise AuthenticationFailed("Unknown client key.")
        refresh = PairedRefreshToken.for_user(client)
        return answer_pair(str(refresh.access_token), str(refresh), client.id)


class Refresh(Public):
    def post(self, request: Request) -> Response:
        data = {"refresh": request.data.get("refresh_token")}
        serializer = RefreshSerializer(data=data)
        try:
            serializer.is_valid(raise_exception=True)
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        pair = serializer.validated_data
        access = RevocableAccessToken(pair["access"], verify=False)
        return answer_pair(pair["access"], pair["refresh"], access["user_id"])


class Logout(APIView):
    def post(self, request: Request) -> Response:
        request.auth.blacklist()
        return Response({"message": "Logged out."})


class SecureData(APIView):
    def get(self, request: Request) -> Response:
        return Response({"message": "This is what the token opens.", "user_id": request.user.id})


class Me(APIView):
    def get(self, request: Request) -> Response:
        client = Client.objects.filter(id=request.user.id).first()
        if client is None:
            raise AuthenticationFailed("Unknown client.")
        return Response(
            {
                "user_id": client.id,
                "name": client.name,
                "scopes": client.scopes.split(),
                "created_at": client.created_at,
                "session_id": request.auth["jti"],
                "token_expires_at": request.auth["exp"],
            }
        )


urlpatterns = [
    path("login", Login.as_view()),
    path("refresh-token", Refresh.as_view()),
    path("logout", Logout.as_view()),
    path("secure-data", SecureData.as_view()),
    path("me", Me.as_view()),
]
