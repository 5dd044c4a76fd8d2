"""Words of public offices, daily life and computing, in English and Korean.

A question in one language finds its words in a passage of the other. Without them nothing but
the rank of a foreign passage would say which of its sentences answers.
"""

from __future__ import annotations

# A line is a group, as in `thesaurus`: a hyphen joins two words, Korean verbs stand in the forms
# that they begin with.
OFFICES = """
city 시청 도시
hall 시청 회관
mayor 시장
council 의회 시의회
committee 위원회
member 위원 회원
vote 투표 표결 찬성
election 선거
department division office 부서 과
staff employee 직원
resident citizen 주민 시민
foreigner foreign 외국인
passport 여권
visa 비자 사증
certificate 증명 증명서
license licence 면허 면허증
permit permission 허가
law ordinance regulation 조례 법 규정
amendment 개정
notice announcement 공고 공지
application apply 신청
form 서식 신청서 양식
document paper 서류 문서
copy 사본
deadline 기한 마감
fee charge 수수료 요금
cost price 비용 요금 값
fine penalty 과태료 벌금
tax 세금 지방세
budget 예산
reserve 예비비
expenditure spending 세출 지출
income revenue 소득 수입 세입
salary wage 급여 임금
subsidy support grant benefit allowance 지원 지원금 보조금 축하금 수당
bonus 축하금 상여금
payment 지급 납부
pay 내 납부 지급
refund 환급 반환 돌려주
exempt exemption waive 면제
free 무료 무상 면제
discount reduction 감면 할인
deposit 보증금
rent 월세 임대
bank 은행
account 계좌 통장
address 주소
move moving 이사 전입
registration register 등록
report 신고
complaint 민원 불만
counter desk 창구 안내대
reservation reserve 예약
appointment booking 예약
cancel cancellation 취소
appeal objection 의견 이의
vending kiosk 무인민원발급기
online 온라인 누리집
website homepage 누리집 홈페이지
mail post 우편 우편으로
lawyer attorney legal 변호사 법률
advice counselling consultation 상담
mediation 조정
volunteer 자원봉사 자원봉사자
survey 설문 조사
satisfaction 만족도
proposal suggestion 제안
"""
LIFE = """
baby newborn infant 아기 출생 신생아 유아
birth 출생 출산
child children kid 아이 자녀 어린이 아동
twin 쌍둥이
adopt adoption 입양
mother 산모 어머니
parent 부모
family household 가구 가족
marriage wedding 결혼 혼인
youth young 청년 청소년
student 학생
senior elderly old 어르신 노인
disability disabled 장애인
daycare nursery kindergarten childcare 어린이집 돌봄 보육
school 학교
library 도서관
book 책 도서
borrow lend loan 빌리 빌린 빌릴 대출
hospital 병원
doctor 의사
medical clinic 의료 진료
insurance 보험
festival 축제
cherry 벚꽃
blossom 벚꽃
firework 불꽃놀이
stage 무대
concert performance perform show 공연 음악회
stall booth market 장터 시장
truck 트럭
food 음식 먹거리 음식물
parking 주차 주차장
park 공원
car vehicle 자동차 차량
electric 전기
charging 충전
bicycle bike 자전거
bus 버스
shuttle 셔틀버스
taxi cab 택시
train rail railway tram 열차 경전철 철도
subway metro 지하철
station 역 정류장
stop 정류장
fare 요금 운임
transport traffic transit 교통
driver driving 운전 운전면허
road street 도로 길
ticket 표 승차권 입장권
pass 정기권
card 카드
lost lose losing 잃어버 잃어버리 분실
waste garbage trash rubbish 쓰레기 폐기물
bag 봉투
recycling recycle 재활용 재활용품
bottle 병 페트병
battery 건전지
furniture 가구
sofa couch 소파
bed 침대
mattress 매트리스
desk 책상
wardrobe closet 장롱
refrigerator fridge 냉장고
washing washer 세탁기
collection pickup collect 수거
noise 소음
neighbour neighbor 이웃 층간
tree 나무 가로수
sapling seedling 묘목
plant planting 심기 심고
dog puppy 반려견 개 강아지
pet 반려동물 반려견
cat 고양이 반려묘
water tap 수도 물
electricity 전기
gas 가스
bill 요금 고지
heat heatwave 폭염 무더위
shelter 쉼터
rain 비 비가
wind 바람
accident emergency 응급 긴급 사고
police 경찰 경찰서
drone 드론
helmet 안전모 헬멧
holiday vacation 휴일 공휴일
weekday 평일
weekend 토요일 일요일 주말
monday 월요일
tuesday 화요일
wednesday 수요일
thursday 목요일
friday 금요일
saturday 토요일
sunday 일요일
night evening 야간 밤
lunch 점심 점심시간
opening open 여는 열린 열리
building 건물 청사
floor 층
room 실 방
meeting 회의 모임
auditorium 대강당
photo picture 사진
wheelchair 휠체어
stroller pram 유아차
inhabitant population 인구 주민
people person 명 사람
visitor visit attendance attract 다녀갔 방문 방문객
quarter 분기 석-달
class lesson course 수업 교실 강좌
textbook 교재 교과서
interpreter interpreting interpretation 통역
language 언어
work job 근무 일
age 나이 만
held take-place 열리 열린 열린다
distribute handed hand 나누어
receive get 받 받는 받을
send 보내
find 찾
begin start 시작
end finish 끝 종료
change 변경 바꾸 바뀐
increase 늘었 늘어 증가
decrease 줄었 줄어 감소
result 결과
maximum limit 최대 한도
minimum 최소
area 지역 면적
"""
COMPUTING = """
question query 질문
answer reply 답 답변
search retrieval 검색
citation quote 인용
source 출처 근거
confidence 믿음
abstain abstention 보류
passage chunk 조각
index 색인
version 판
vector embedding 벡터 임베딩
model 모델
file 파일
folder directory 폴더
upload ingest 올리 올릴 업로드
delete remove 지우 삭제
format 형식
install installation 설치
server 서버
port 포트
key 키
password 비밀번호
administrator admin 관리자
scope permission 권한
flag 플래그
feature 기능
rollout 배포
roll rollback revert 되돌리 되돌린 롤백
emergency kill 비상
environment 환경
variable 변수
database 데이터베이스
error 오류
status state 상태
log record audit 기록 감사
command 명령
request 요청
response 응답
default 기본값
setting configuration 설정
cache 캐시
mask masking 가리 가려 가린
personal private 개인정보
phone telephone 전화 전화번호
email e-mail 메일 전자우편
stream streaming 흘려
feedback rating 의견
learning 학습
training train 학습
data 데이터
supervised 지도
unsupervised 비지도
reinforcement 강화
reward 보상
overfitting 과적합
regularisation regularization 정규화
gradient 경사 기울기
layer 층
neuron 뉴런
weight 가중치
loss 손실
accuracy 정확도
precision 정밀도
token 토큰
attention 어텐션
transformer 트랜스포머
sentence 문장
particle 조사
encoding 인코딩
threshold 기준
probability 확률
exploration 탐험
exploitation 활용
attack injection 공격 주입
evaluation evaluate 평가
average mean 평균
dropout 드롭아웃
epoch 에폭
hallucination 환각
"""
GLOSSARY = tuple(f"{OFFICES}{LIFE}{COMPUTING}".split("\n"))
